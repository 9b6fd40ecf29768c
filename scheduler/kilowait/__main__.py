"""`python -m kilowait`: the same as the `kilowait` command."""

from kilowait_scheduler.cli import main

main()
