"""Scripts of the README's recipes for runners, as the tests run them."""
from __future__ import annotations

# Runs a job in Slurm, and knows three things better than srun: that can miss a TERM that comes while it starts; it leaves its job behind
# when it is killed then; and it calls a job a success whose node died.
ON_SLURM = """\
#!/bin/sh
name="queuectl-$QUEUECTL_WORKER"
trap 'ended=yes' TERM
srun -n1 --quiet --job-name="$name" "$@" &
srun=$!
wait $srun
code=$?
while [ "$ended" ] && kill $srun 2>/dev/null; do scancel --quiet --name="$name"; sleep 0.2; done
[ -z "$ended" ] || scancel --quiet --name="$name"
[ $code != 0 ] || [ -z "$(squeue -h -t NODE_FAIL --name="$name")" ] || code=1
exit $code
"""

# Runs a job on another host. ssh joins its words to a line for the shell over there, so each is quoted for that one.
ON_HOST = """\
#!/bin/sh
host=$1 line="stty -opost; exec"
shift
for word; do line="$line '$(printf %s "$word" | sed "s/'/'\\\\\\\\''/g")'"; done
exec ssh -tt -o BatchMode=yes -o LogLevel=ERROR "$host" "$line </dev/null"
"""
