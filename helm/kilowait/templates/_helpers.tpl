{{/* Name of the release's objects; short enough for the suffixes that templates add. */}}
{{- define "kilowait.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* Labels that select a component's pods. Takes a dict of root and component. */}}
{{- define "kilowait.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of a component's objects. Takes a dict of root and component. */}}
{{- define "kilowait.labels" -}}
{{ include "kilowait.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "kilowait.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "kilowait.claim" -}}
{{ .Values.persistence.existingClaim | default (include "kilowait.fullname" .) }}
{{- end }}

{{/* "yes" where the state lives in PostgreSQL, else empty: SQLite. */}}
{{- define "kilowait.postgres" -}}
{{- if or .Values.database.url .Values.database.existingSecret.name -}}yes{{- end -}}
{{- end }}

{{/* Variable of the server that holds the token of a region's cluster. Region names have no underscore: no two meet. */}}
{{- define "kilowait.tokenEnv" -}}
KILOWAIT_RAY_TOKEN_{{ .name | upper | replace "-" "_" }}
{{- end }}

{{/* regions.yaml as the server reads it: the rows of the values, with the token's variable in place of its Secret. */}}
{{- define "kilowait.regions" -}}
{{- $rows := list -}}
{{- range .Values.regions -}}
{{- $row := omit . "token_secret" -}}
{{- if .token_secret -}}
{{- $row = set $row "token_env" (include "kilowait.tokenEnv" .) -}}
{{- end -}}
{{- $rows = append $rows $row -}}
{{- end -}}
{{ toYaml (dict "regions" $rows) }}
{{- end }}

{{- define "kilowait.agentServer" -}}
{{ .Values.agent.server | default (printf "http://%s:%v" (include "kilowait.fullname" .) .Values.service.port) }}
{{- end }}

{{/* What a schema cannot refuse because it takes two values together, or because the message would show a password. */}}
{{- define "kilowait.refusals" -}}
{{- $postgres := include "kilowait.postgres" . -}}
{{- $shared := or .Values.persistence.existingClaim (eq .Values.persistence.accessMode "ReadWriteMany") -}}
{{- if not (or .Values.server.enabled .Values.agent.enabled) -}}
{{- fail "server.enabled and agent.enabled are both false: there is nothing to install" -}}
{{- end -}}
{{- if and .Values.agent.enabled (not .Values.server.enabled) (not .Values.agent.server) -}}
{{- fail "agent.server is empty and this release has no server: give the URL of the server the agents report to" -}}
{{- end -}}
{{- if .Values.server.enabled -}}
{{- if and .Values.database.url .Values.database.existingSecret.name -}}
{{- fail "database.url and database.existingSecret.name exclude each other: give one" -}}
{{- end -}}
{{- if and .Values.database.url (not (regexMatch "^postgresql(\\+psycopg)?://" .Values.database.url)) -}}
{{- fail "database.url must begin with postgresql://; for SQLite leave it empty" -}}
{{- end -}}
{{- if regexMatch "(://[^?]*:[^?]*@)|([?&]password=)" .Values.database.url -}}
{{- fail "database.url holds a password: put the whole URL into a Secret and name it in database.existingSecret.name" -}}
{{- end -}}
{{- if and (gt (int .Values.server.replicas) 1) (not $postgres) -}}
{{- fail (printf "server.replicas is %v, but SQLite serves one pod: give database.url or database.existingSecret.name, or set server.replicas to 1" .Values.server.replicas) -}}
{{- end -}}
{{- if and (gt (int .Values.server.replicas) 1) (not $shared) -}}
{{- fail (printf "server.replicas is %v, and all pods read the packages of submitted jobs from one volume: set persistence.accessMode to ReadWriteMany, or name a shared persistence.existingClaim" .Values.server.replicas) -}}
{{- end -}}
{{- if and (eq .Values.persistence.accessMode "ReadWriteMany") (not $postgres) -}}
{{- fail "persistence.accessMode ReadWriteMany is for PostgreSQL: SQLite's write-ahead log does not work on shared file systems" -}}
{{- end -}}
{{- $names := list -}}
{{- range .Values.regions -}}
{{- if has .name $names -}}
{{- fail (printf "regions: the name %s is given twice" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- end }}
