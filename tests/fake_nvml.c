/* A stand-in for libnvidia-ml.so.1, for tests: boards that follow a scenario, with an energy known in closed form.
 *
 * Written from NVML's documented behaviour and from what agent_gpu.py recorded on a real board; no NVIDIA code is in it.
 * FAKE_NVML names the scenario, a text file of one statement a line ('#' begins a comment); what belongs to a board
 * follows its `gpu` line. Times are seconds of the scenario, powers W. See fake_nvml.py, which writes it.
 *
 *   state FILE            shared doubles: [0] virtual now, [1] calls so far, [2 + g] power limit set (mW, 0: default)
 *   virtual 0|1           1: now is state[0]; 0: now is the real time since `epoch`
 *   epoch S               the scenario's second 0 as seconds since 1970
 *   latency_us N          every call takes this long (of real time)
 *   driver_down T0 T1     the driver is unloaded; whoever was connected must initialise again
 *   mismatch T            from then on library and driver do not fit
 *   permission 0|1        whether this process may set limits
 *   gpu UUID NAME [KEY VALUE]...   tick_ms phase_ms power_ms energy average instant fields module sampled_ms base_mj
 *                         min_w max_w default_w memory_mb sms utilization accounted
 *   seg T0 T1 KIND A [B C D]       const W | square LOW HIGH PERIOD | ramp FROM TO | spiky BASE PEAK WIDTH PERIOD
 *   proc PID T0 T1 SM [GI[/CI]] [mps]   a process on the board, its share of the SMs in %, its MIG instance
 *   mig GI SLICES MEMORY_MB SMS [CI CI_SLICES]     one compute instance of a GPU instance; without CI all of it
 *   whole T0 T1           meanwhile the board is not cut into them, which nothing else tells
 *   fault T0 T1 all|energy|power|procs|util CODE
 *   reset T               the counter begins again at 0
 *   jump T MJ             the counter gains what was never drawn
 *   stall T0 T1 0|1       the counter stands still; 1: it has caught up at T1, 0: it goes on from where it stood
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { OK, UNINITIALIZED, INVALID, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 6, TOO_SMALL = 7, NOT_LOADED = 9, MISMATCH = 18 };
enum { GPUS = 16, MANY = 256, STATE = 64 };
enum { CONST, SQUARE, RAMP, SPIKY };

typedef struct { double t0, t1, a, b, c, d; int kind; } Seg;
typedef struct { double t0, t1; unsigned pid, sm; int gi, ci, mps; } Proc;
typedef struct { int gi, ci, slices, ci_slices, memory_mb, sms; } Mig;
typedef struct { double t0, t1; char what[8]; int code; } Fault;
typedef struct { double t0, t1; int catch_up; } Stall;
typedef struct { double t, mj; } Jump;
typedef struct { int gpu, mig; } Handle;
typedef struct {
    char uuid[96], name[96];
    double tick, phase, power_period, sampled, base_mj, min_w, max_w, default_w;
    int energy, average, instant, fields, module, memory_mb, sms, utilization;
    Seg seg[MANY]; int segs;
    Proc proc[MANY]; int procs;
    Mig mig[8]; int migs; double whole[2];
    Fault fault[32]; int faults;
    double reset[16]; int resets;
    Jump jump[8]; int jumps;
    Stall stall[8]; int stalls;
    Handle self, part[8];
    long sampled_ticks; double sampled_mj;
} Gpu;

static Gpu gpus[GPUS];
static int n_gpus, is_virtual, permitted = 1, initialised;
static double epoch, latency_us, down[8][2], mismatch_at = INFINITY, session_at, local[STATE], *state = local;
static int downs;

static double now_s(void) {
    struct timespec ts;
    if (is_virtual) return *(volatile double *)&state[0];
    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec - epoch + ts.tv_nsec / 1e9;
}

/* Energy (J) under one segment from its beginning to t. */
static double seg_j(const Seg *s, double t) {
    double x = fmin(t, s->t1) - s->t0, whole, rest;
    if (x <= 0) return 0;
    switch (s->kind) {
    case CONST: return s->a * x;
    case SQUARE: /* high in the first half of each period */
        whole = floor(x / s->c); rest = x - whole * s->c;
        return whole * s->c * (s->a + s->b) / 2 + fmin(rest, s->c / 2) * s->b + fmax(0, rest - s->c / 2) * s->a;
    case RAMP: return x * (s->a + (s->b - s->a) * x / (s->t1 - s->t0) / 2);
    default: /* SPIKY: the peak comes first in each period */
        whole = floor(x / s->d); rest = x - whole * s->d;
        return x * s->a + (whole * s->c + fmin(rest, s->c)) * (s->b - s->a);
    }
}

static double energy_j(const Gpu *g, double t) {
    double sum = 0;
    for (int i = 0; i < g->segs; i++) sum += seg_j(&g->seg[i], t);
    return sum;
}

static double mean_w(const Gpu *g, double t, double span) { return (energy_j(g, t) - energy_j(g, t - span)) / span; }

/* What the counter has gathered by the tick at t: the truth, or (worst case) part-time samples of it. */
static double gathered_mj(Gpu *g, double t) {
    if (g->sampled <= 0) return 1000 * energy_j(g, t);
    long ticks = lround((t - g->phase) / g->tick);
    if (ticks < g->sampled_ticks) g->sampled_ticks = 0, g->sampled_mj = 0;
    for (; g->sampled_ticks < ticks; g->sampled_ticks++)
        g->sampled_mj += 1000 * g->tick * mean_w(g, g->phase + (g->sampled_ticks + 1) * g->tick, g->sampled);
    return g->sampled_mj;
}

static double last_tick(const Gpu *g, double t) { return g->phase + floor((t - g->phase) / g->tick + 1e-9) * g->tick; }

static uint64_t counter_mj(Gpu *g, double now) {
    double t = last_tick(g, now), from = 0, lost = 0, mj = g->base_mj;
    for (int i = 0; i < g->stalls; i++) {
        if (t >= g->stall[i].t0 && t < g->stall[i].t1) t = g->stall[i].t0;
        else if (t >= g->stall[i].t1 && !g->stall[i].catch_up)
            lost += gathered_mj(g, g->stall[i].t1) - gathered_mj(g, g->stall[i].t0);
    }
    for (int i = 0; i < g->resets; i++)
        if (t >= g->reset[i] && g->reset[i] >= from) from = g->reset[i], mj = 0;
    for (int i = 0; i < g->jumps; i++)
        if (t >= g->jump[i].t && g->jump[i].t >= from) mj += g->jump[i].mj;
    return (uint64_t)(mj + gathered_mj(g, t) - (from > 0 ? gathered_mj(g, from) : 0) - lost + 0.5);
}

static unsigned power_mw(Gpu *g, double now, double span) {
    double t = floor(now / g->power_period + 1e-9) * g->power_period;
    return (unsigned)(1000 * mean_w(g, t, span) + 0.5);
}

/* --- the scenario ----------------------------------------------------------------------------------------------- */

static void bad(const char *line) { fprintf(stderr, "fake NVML: cannot read: %s\n", line); abort(); }

static double number(char **rest) {
    char *word = strtok_r(NULL, " \n", rest);
    if (!word) bad("a number is missing");
    return atof(word);
}

static void read_gpu(char **rest) {
    Gpu *g = &gpus[n_gpus];
    *g = (Gpu){.tick = 0.1, .power_period = 0.1, .energy = 1, .average = 1, .instant = 1, .fields = 1, .min_w = 200,
               .max_w = 700, .default_w = 700, .memory_mb = 81559, .sms = 132, .utilization = 1,
               .self = {n_gpus, -1}};
    n_gpus++;
    snprintf(g->uuid, sizeof g->uuid, "%s", strtok_r(NULL, " \n", rest));
    snprintf(g->name, sizeof g->name, "%s", strtok_r(NULL, " \n", rest));
    for (char *c = g->name; *c; c++) if (*c == '_') *c = ' ';
    for (char *key; (key = strtok_r(NULL, " \n", rest));) {
        double v = number(rest);
        if (!strcmp(key, "tick_ms")) g->tick = v / 1000;
        else if (!strcmp(key, "phase_ms")) g->phase = v / 1000;
        else if (!strcmp(key, "power_ms")) g->power_period = v / 1000;
        else if (!strcmp(key, "sampled_ms")) g->sampled = v / 1000;
        else if (!strcmp(key, "base_mj")) g->base_mj = v;
        else if (!strcmp(key, "min_w")) g->min_w = v;
        else if (!strcmp(key, "max_w")) g->max_w = v;
        else if (!strcmp(key, "default_w")) g->default_w = v;
        else if (!strcmp(key, "energy")) g->energy = (int)v;
        else if (!strcmp(key, "average")) g->average = (int)v;
        else if (!strcmp(key, "instant")) g->instant = (int)v;
        else if (!strcmp(key, "fields")) g->fields = (int)v;
        else if (!strcmp(key, "module")) g->module = (int)v;
        else if (!strcmp(key, "memory_mb")) g->memory_mb = (int)v;
        else if (!strcmp(key, "sms")) g->sms = (int)v;
        else if (!strcmp(key, "utilization")) g->utilization = (int)v;
        else bad(key);
    }
}

static void read_line(char *line) {
    char *rest, *word, kept[512];
    snprintf(kept, sizeof kept, "%s", line);
    line[strcspn(line, "#")] = 0;
    if (!(word = strtok_r(line, " \n", &rest))) return;
    Gpu *g = n_gpus ? &gpus[n_gpus - 1] : NULL;
    if (!strcmp(word, "state")) {
        int file = open(strtok_r(NULL, " \n", &rest), O_RDWR);
        void *shared = file < 0 ? MAP_FAILED : mmap(NULL, STATE * sizeof(double), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (shared == MAP_FAILED) bad(kept);
        state = shared;
    } else if (!strcmp(word, "virtual")) is_virtual = (int)number(&rest);
    else if (!strcmp(word, "epoch")) epoch = number(&rest);
    else if (!strcmp(word, "latency_us")) latency_us = number(&rest);
    else if (!strcmp(word, "permission")) permitted = (int)number(&rest);
    else if (!strcmp(word, "mismatch")) mismatch_at = number(&rest);
    else if (!strcmp(word, "driver_down")) down[downs][0] = number(&rest), down[downs][1] = number(&rest), downs++;
    else if (!strcmp(word, "gpu")) read_gpu(&rest);
    else if (!g) bad(kept);
    else if (!strcmp(word, "seg")) {
        Seg *s = &g->seg[g->segs++];
        s->t0 = number(&rest), s->t1 = number(&rest);
        char *kind = strtok_r(NULL, " \n", &rest);
        s->kind = !strcmp(kind, "const") ? CONST : !strcmp(kind, "square") ? SQUARE : !strcmp(kind, "ramp") ? RAMP : SPIKY;
        s->a = number(&rest);
        if (s->kind != CONST) s->b = number(&rest);
        if (s->kind == SQUARE || s->kind == SPIKY) s->c = number(&rest);
        if (s->kind == SPIKY) s->d = number(&rest);
    } else if (!strcmp(word, "proc")) {
        Proc *p = &g->proc[g->procs++];
        p->pid = (unsigned)number(&rest), p->t0 = number(&rest), p->t1 = number(&rest), p->sm = (unsigned)number(&rest);
        p->gi = -1, p->ci = 0;
        for (char *more; (more = strtok_r(NULL, " \n", &rest));)
            if (!strcmp(more, "mps")) p->mps = 1;
            else p->gi = atoi(more), p->ci = strchr(more, '/') ? atoi(strchr(more, '/') + 1) : 0;
    } else if (!strcmp(word, "mig")) {
        Mig *m = &g->mig[g->migs];
        g->part[g->migs] = (Handle){n_gpus - 1, g->migs};
        m->gi = (int)number(&rest), m->slices = (int)number(&rest), m->memory_mb = (int)number(&rest), m->sms = (int)number(&rest);
        char *ci = strtok_r(NULL, " \n", &rest);
        m->ci = ci ? atoi(ci) : 0, m->ci_slices = ci ? (int)number(&rest) : m->slices;
        g->migs++;
    } else if (!strcmp(word, "whole")) {
        g->whole[0] = number(&rest), g->whole[1] = number(&rest);
    } else if (!strcmp(word, "fault")) {
        Fault *f = &g->fault[g->faults++];
        f->t0 = number(&rest), f->t1 = number(&rest);
        snprintf(f->what, sizeof f->what, "%s", strtok_r(NULL, " \n", &rest));
        f->code = (int)number(&rest);
    } else if (!strcmp(word, "reset")) g->reset[g->resets++] = number(&rest);
    else if (!strcmp(word, "jump")) g->jump[g->jumps].t = number(&rest), g->jump[g->jumps++].mj = number(&rest);
    else if (!strcmp(word, "stall")) {
        Stall *s = &g->stall[g->stalls++];
        s->t0 = number(&rest), s->t1 = number(&rest), s->catch_up = (int)number(&rest);
    } else bad(kept);
}

static void load(void) {
    const char *path = getenv("FAKE_NVML");
    FILE *file = path && *path ? fopen(path, "r") : NULL;
    char line[512];
    n_gpus = downs = is_virtual = 0;
    latency_us = 0, permitted = 1, mismatch_at = INFINITY;
    if (!path || !*path) return; /* no scenario, no driver */
    if (!file) bad(path);
    while (fgets(line, sizeof line, file)) read_line(line);
    fclose(file);
}

/* --- what every call goes through ------------------------------------------------------------------------------- */

static int session(double now) {
    state[1]++;
    if (latency_us > 0) usleep((useconds_t)latency_us);
    if (now >= mismatch_at) return MISMATCH;
    for (int i = 0; i < downs; i++)
        if (now >= down[i][0] && session_at < down[i][1]) initialised = 0;
    return initialised ? OK : UNINITIALIZED;
}

static int ask(const Handle *h, const char *what, double now) {
    int code = session(now);
    if (code) return code;
    if (!h || h->gpu < 0 || h->gpu >= n_gpus) return INVALID;
    Gpu *g = &gpus[h->gpu];
    for (int i = 0; i < g->faults; i++)
        if (now >= g->fault[i].t0 && now < g->fault[i].t1 && (!strcmp(g->fault[i].what, "all") || !strcmp(g->fault[i].what, what)))
            return g->fault[i].code;
    return OK;
}

#define GPU(what)                                       \
    double now = now_s();                               \
    int code = ask(device, what, now);                  \
    if (code) return code;                              \
    Gpu *g = &gpus[device->gpu];                        \
    (void)g

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (!n_gpus) load();
    if (!getenv("FAKE_NVML") || !*getenv("FAKE_NVML")) return NOT_LOADED;
    double now = now_s();
    state[1]++;
    if (now >= mismatch_at) return MISMATCH;
    for (int i = 0; i < downs; i++) if (now >= down[i][0] && now < down[i][1]) return NOT_LOADED;
    initialised++, session_at = now; /* sessions are counted */
    return OK;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return initialised ? initialised--, OK : UNINITIALIZED; }
const char *nvmlErrorString(int code) {
    switch (code) {
    case OK: return "Success"; case UNINITIALIZED: return "Uninitialized"; case INVALID: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported"; case NO_PERMISSION: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found"; case NOT_LOADED: return "Driver Not Loaded"; case 15: return "GPU is lost";
    case MISMATCH: return "Driver/library version mismatch"; default: return "Unknown Error";
    }
}
int nvmlSystemGetDriverVersion(char *out, unsigned size) { int c = session(now_s()); if (!c) snprintf(out, size, "580.0"); return c; }
int nvmlSystemGetNVMLVersion(char *out, unsigned size) { int c = session(now_s()); if (!c) snprintf(out, size, "13.580"); return c; }
int nvmlDeviceGetCount_v2(unsigned *count) { int c = session(now_s()); if (!c) *count = (unsigned)n_gpus; return c; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Handle **device) {
    int code = session(now_s());
    if (code) return code;
    if (index >= (unsigned)n_gpus) return INVALID;
    *device = &gpus[index].self;
    return ask(*device, "handle", now_s());
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Handle **device) {
    int code = session(now_s());
    if (code) return code;
    for (int i = 0; i < n_gpus; i++)
        if (!strcmp(uuid, gpus[i].uuid)) { *device = &gpus[i].self; return ask(*device, "handle", now_s()); }
    return NOT_FOUND;
}
int nvmlDeviceGetUUID(Handle *device, char *out, unsigned size) {
    GPU("id");
    if (device->mig < 0) snprintf(out, size, "%s", g->uuid); else snprintf(out, size, "MIG-%s-%d-%d", g->uuid, g->mig[device->mig].gi, g->mig[device->mig].ci);
    return OK;
}
int nvmlDeviceGetName(Handle *device, char *out, unsigned size) { GPU("id"); snprintf(out, size, "%s", g->name); return OK; }
int nvmlDeviceGetArchitecture(Handle *device, unsigned *out) { GPU("id"); *out = 9; return OK; }
int nvmlDeviceGetComputeMode(Handle *device, unsigned *out) { GPU("id"); *out = 0; return OK; }
int nvmlDeviceGetPersistenceMode(Handle *device, unsigned *out) { GPU("id"); *out = 1; return OK; }
int nvmlDeviceGetIndex(Handle *device, unsigned *out) { GPU("id"); *out = (unsigned)device->gpu; return OK; }

/* --- energy and power ------------------------------------------------------------------------------------------- */

int nvmlDeviceGetTotalEnergyConsumption(Handle *device, unsigned long long *out) {
    GPU("energy");
    if (!g->energy || device->mig >= 0) return NOT_SUPPORTED;
    *out = counter_mj(g, now);
    return OK;
}
int nvmlDeviceGetPowerUsage(Handle *device, unsigned *out) {
    GPU("power");
    if (device->mig >= 0 || !(g->average || g->instant)) return NOT_SUPPORTED;
    *out = power_mw(g, now, g->average ? 1 : 0.001);
    return OK;
}

typedef struct { unsigned id, scope; long long stamp_us, latency_us; int type, code; union { double d; unsigned u; unsigned long long ull; } value; } Field;

static void fill(Gpu *g, const Handle *device, Field *f, double now) {
    f->stamp_us = llround((epoch + now) * 1e6), f->latency_us = 0;
    int is_energy = f->id == 83, is_power = f->id == 185 || f->id == 186;
    f->code = ask(device, is_energy ? "energy" : "power", now);
    state[1]--; /* one call, however many fields */
    if (f->code) return;
    if (device->mig >= 0 || (f->scope && !(f->scope == 1 && g->module))) f->code = is_power || is_energy ? NOT_SUPPORTED : INVALID;
    else if (is_energy) {
        f->type = 3, f->code = g->energy ? OK : NOT_SUPPORTED;
        if (!f->code) f->value.ull = counter_mj(g, now);
    } else if (is_power) {
        int there = f->id == 185 ? g->average : g->instant;
        f->type = 1, f->code = there && (f->scope == 1) == (g->module != 0) ? OK : NOT_SUPPORTED;
        if (!f->code) f->value.u = power_mw(g, now, f->id == 185 ? 1 : 0.001);
    } else f->code = INVALID;
}
int nvmlDeviceGetFieldValues(Handle *device, int count, Field *fields) {
    double now = now_s();
    int code = session(now);
    if (code) return code;
    if (!gpus[device->gpu].fields) return 13;
    double latency = latency_us;
    latency_us = 0;
    for (int i = 0; i < count; i++) fill(&gpus[device->gpu], device, &fields[i], now);
    latency_us = latency;
    return OK;
}

int nvmlDeviceGetPowerManagementLimitConstraints(Handle *device, unsigned *low, unsigned *high) {
    GPU("limit"); *low = (unsigned)(1000 * g->min_w), *high = (unsigned)(1000 * g->max_w); return OK;
}
int nvmlDeviceGetPowerManagementDefaultLimit(Handle *device, unsigned *out) { GPU("limit"); *out = (unsigned)(1000 * g->default_w); return OK; }
int nvmlDeviceGetPowerManagementLimit(Handle *device, unsigned *out) {
    GPU("limit"); double set = state[2 + device->gpu]; *out = (unsigned)(set > 0 ? set : 1000 * g->default_w); return OK;
}
int nvmlDeviceGetEnforcedPowerLimit(Handle *device, unsigned *out) { return nvmlDeviceGetPowerManagementLimit(device, out); }
int nvmlDeviceGetPowerManagementMode(Handle *device, unsigned *out) { GPU("limit"); *out = 1; return OK; }
int nvmlDeviceSetPowerManagementLimit(Handle *device, unsigned mw) {
    GPU("limit");
    if (!permitted) return NO_PERMISSION;
    if (mw < 1000 * g->min_w || mw > 1000 * g->max_w) return INVALID;
    state[2 + device->gpu] = mw;
    return OK;
}

#define CUT (g->migs > 0 && !(now >= g->whole[0] && now < g->whole[1]))

/* --- processes -------------------------------------------------------------------------------------------------- */

typedef struct { unsigned pid; unsigned long long memory; unsigned gi, ci; } ProcessInfo;

static int processes(Handle *device, unsigned *count, ProcessInfo *out, int mps) {
    GPU("procs");
    unsigned room = out ? *count : 0, n = 0;
    for (int i = 0; i < g->procs; i++) {
        Proc *p = &g->proc[i];
        if (now < p->t0 || now >= p->t1 || p->mps != mps) continue;
        if (device->mig >= 0 && (p->gi != g->mig[device->mig].gi || p->ci != g->mig[device->mig].ci)) continue;
        if (n < room) out[n] = (ProcessInfo){p->pid, 1 << 30, (unsigned)p->gi, p->gi < 0 ? ~0u : (unsigned)p->ci};
        n++;
    }
    *count = n;
    return n > room ? TOO_SMALL : OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(Handle *device, unsigned *count, ProcessInfo *out) { return processes(device, count, out, 0); }
int nvmlDeviceGetMPSComputeRunningProcesses_v3(Handle *device, unsigned *count, ProcessInfo *out) { return processes(device, count, out, 1); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(Handle *device, unsigned *count, ProcessInfo *out) { GPU("procs"); (void)out; *count = 0; return OK; }

typedef struct { unsigned pid; unsigned long long stamp_us; unsigned sm, mem, enc, dec; } Utilization;

int nvmlDeviceGetProcessUtilization(Handle *device, Utilization *out, unsigned *count, unsigned long long since_us) {
    GPU("util");
    if (!g->utilization || CUT) return NOT_SUPPORTED;
    unsigned room = out ? *count : 0, n = 0;
    double since = since_us / 1e6 - epoch;
    for (int i = 0; i < g->procs; i++) { /* the latest sample of each process, if it is newer than what was seen */
        Proc *p = &g->proc[i];
        double at = floor(fmin(now, p->t1) * 6) / 6;
        if (now < p->t0 || at < p->t0 || at <= since) continue;
        if (n < room) out[n] = (Utilization){p->pid, (unsigned long long)llround((epoch + at) * 1e6), p->sm, p->sm / 2, 0, 0};
        n++;
    }
    *count = n;
    return !n ? NOT_FOUND : n > room ? TOO_SMALL : OK;
}
int nvmlDeviceGetUtilizationRates(Handle *device, unsigned out[2]) {
    GPU("util");
    out[0] = out[1] = 0;
    for (int i = 0; i < g->procs; i++) if (now >= g->proc[i].t0 && now < g->proc[i].t1) out[0] += g->proc[i].sm;
    if (out[0] > 100) out[0] = 100;
    return OK;
}
int nvmlDeviceGetMemoryInfo(Handle *device, unsigned long long out[3]) {
    GPU("id"); out[0] = (unsigned long long)g->memory_mb << 20, out[1] = out[0], out[2] = 0; return OK;
}
int nvmlDeviceGetTemperature(Handle *device, unsigned sensor, unsigned *out) { GPU("id"); (void)sensor; *out = 40; return OK; }
int nvmlDeviceGetTemperatureV(Handle *device, void *out) { GPU("id"); ((int *)out)[2] = 40; return OK; }

/* --- MIG -------------------------------------------------------------------------------------------------------- */

int nvmlDeviceGetMigMode(Handle *device, unsigned *current, unsigned *pending) { GPU("mig"); *current = *pending = CUT; return OK; }
int nvmlDeviceGetMaxMigDeviceCount(Handle *device, unsigned *out) { GPU("mig"); *out = 7; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(Handle *device, unsigned index, Handle **part) {
    GPU("mig");
    if (!CUT || index >= (unsigned)g->migs) return NOT_FOUND;
    *part = &g->part[index];
    return OK;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Handle *device, Handle **parent) { GPU("mig"); *parent = &g->self; return OK; }
int nvmlDeviceIsMigDeviceHandle(Handle *device, unsigned *out) { GPU("mig"); *out = device->mig >= 0; return OK; }
int nvmlDeviceGetGpuInstanceId(Handle *device, unsigned *out) {
    GPU("mig");
    if (device->mig < 0) return NOT_SUPPORTED;
    *out = (unsigned)g->mig[device->mig].gi;
    return OK;
}
int nvmlDeviceGetComputeInstanceId(Handle *device, unsigned *out) { GPU("mig"); if (device->mig < 0) return NOT_SUPPORTED; *out = (unsigned)g->mig[device->mig].ci; return OK; }

typedef struct { unsigned sms, copy, dec, enc, jpeg, ofa, gi_slices, ci_slices; unsigned long long memory_mb; } Attributes;
int nvmlDeviceGetAttributes_v2(Handle *device, Attributes *out) {
    GPU("mig");
    memset(out, 0, sizeof *out);
    if (device->mig < 0) return NOT_SUPPORTED;
    Mig *m = &g->mig[device->mig];
    out->sms = (unsigned)m->sms, out->gi_slices = (unsigned)m->slices, out->ci_slices = (unsigned)m->ci_slices, out->memory_mb = (unsigned long long)m->memory_mb;
    return OK;
}

/* --- the truth, for tests --------------------------------------------------------------------------------------- */

double fake_energy_mj(int gpu, double t0, double t1) { return 1000 * (energy_j(&gpus[gpu], t1) - energy_j(&gpus[gpu], t0)); }
double fake_now(void) { return now_s(); }
void fake_load(void) { load(); initialised = 0; }
