#!/usr/bin/env bash
# Runs tests/engine/test_*.py against real engines on this machine: a Slurm of three nodes and an sshd, both in a temporary folder, both
# listening on loopback alone, both gone afterwards. The packages they come from are installed where apt-get can. PYTHON chooses the
# interpreter; arguments go to unittest, after `discover`. `run.sh -- COMMAND…` runs a command there instead of the tests.
#
# The exit code is that of unittest; 77 if the engines cannot be had here, with one line that says why.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf '%s\n' "$*"; }
skip() { say "skipped: $*"; exit 77; }

# ---------------------------------------------------------------- what it needs

PATH="$PATH:/usr/sbin:/sbin"
PROGRAMS=(slurmctld slurmd srun munged sshd ssh-keygen)
PACKAGES=(slurm-wlm munge openssh-server openssh-client)

missing() {
    local program
    for program in "${PROGRAMS[@]}"; do command -v "$program" >/dev/null || printf '%s ' "$program"; done
}

[ -d /proc/self ] || skip "the nodes of one machine need Linux"
if [ -n "$(missing)" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    { timeout 60 apt-get update && timeout 180 apt-get install -y --no-install-recommends "${PACKAGES[@]}"; } </dev/null >/dev/null 2>&1 || true
fi
[ -z "$(missing)" ] || skip "not installed, and not to be had by apt-get as root: $(missing)"
[ "$(id -u)" = 0 ] || skip "a slurmd that starts jobs must be root"

ENGINE="$(mktemp -d)"
export ENGINE
export SLURM_CONF="$ENGINE/slurm.conf"

clean_up() {
    timeout 20 scancel --user "$(id -u)" >/dev/null 2>&1 || true
    timeout 20 scontrol shutdown >/dev/null 2>&1 || true
    local file pid
    for file in "$ENGINE"/run/*.pid; do
        pid="$(cat "$file" 2>/dev/null)" || continue
        # slurmctld ends when its last node has; the others have no reason to wait
        case "$file" in */slurmctld.pid) timeout 10 tail --pid="$pid" -f /dev/null || true ;; esac
        kill "$pid" 2>/dev/null || true
    done
    rm -rf "$ENGINE"
}
trap clean_up EXIT

# Ports that nobody listens at now: one for slurmctld, three for the nodes, one for sshd.
free_ports() {
    "${PYTHON:-python3}" -c '
import socket
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
print(*[listener.getsockname()[1] for listener in listeners])'
}

# until_true SECONDS COMMAND…
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# ---------------------------------------------------------------- Slurm

read -r ctld_port n1_port n2_port n3_port ssh_port < <(free_ports)
host="$(hostname -s)"
mkdir -p "$ENGINE"/{state,spool/n1,spool/n2,spool/n3,log,run,bin}
# SlurmdTimeout: a node that does not answer for so long is down. InactiveLimit: a job is ended whose srun has been gone for so long.
cat >"$SLURM_CONF" <<END
ClusterName=tiny
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=$ctld_port
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$ENGINE/run/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmdTimeout=5
InactiveLimit=5
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
StateSaveLocation=$ENGINE/state
SlurmdSpoolDir=$ENGINE/spool/%n
SlurmctldPidFile=$ENGINE/run/slurmctld.pid
SlurmdPidFile=$ENGINE/run/slurmd.%n.pid
SlurmctldLogFile=$ENGINE/log/slurmctld.log
SlurmdLogFile=$ENGINE/log/slurmd.%n.log
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$n1_port CPUs=2 RealMemory=100 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$n2_port CPUs=2 RealMemory=100 State=UNKNOWN
NodeName=n3 NodeHostname=$host NodeAddr=127.0.0.1 Port=$n3_port CPUs=2 RealMemory=100 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
(umask 077 && head -c 1024 /dev/urandom >"$ENGINE/munge.key")
munged --key-file="$ENGINE/munge.key" --socket="$ENGINE/run/munge.socket" --pid-file="$ENGINE/run/munged.pid" \
    --log-file="$ENGINE/log/munged.log" --seed-file="$ENGINE/run/munged.seed" --force </dev/null >/dev/null 2>&1 ||
    skip "munged does not start: $(tail -n 1 "$ENGINE/log/munged.log")"
slurmctld -f "$SLURM_CONF" -c </dev/null >/dev/null 2>&1
for node in n1 n2 n3; do slurmd -f "$SLURM_CONF" -N "$node" </dev/null >/dev/null 2>&1; done
all_idle() { [ "$(sinfo -h -o %D -t idle)" = 3 ]; }
until_true 30 all_idle || skip "the nodes do not come up: $(tail -n 1 "$ENGINE/log/slurmctld.log")"

# ---------------------------------------------------------------- sshd

ssh-keygen -q -t ed25519 -N "" -f "$ENGINE/host_key"
ssh-keygen -q -t ed25519 -N "" -f "$ENGINE/key"
mkdir -p /run/sshd
cat >"$ENGINE/sshd_config" <<END
ListenAddress 127.0.0.1:$ssh_port
HostKey $ENGINE/host_key
AuthorizedKeysFile $ENGINE/key.pub
PidFile $ENGINE/run/sshd.pid
PermitRootLogin yes
PasswordAuthentication no
UsePAM no
StrictModes no
MaxStartups 100
END
printf '[127.0.0.1]:%s %s\n' "$ssh_port" "$(cut -d ' ' -f 1,2 "$ENGINE/host_key.pub")" >"$ENGINE/known_hosts"
cat >"$ENGINE/ssh_config" <<END
Host build1
    HostName 127.0.0.1
    Port $ssh_port
    User $(id -un)
    IdentityFile $ENGINE/key
    IdentitiesOnly yes
    UserKnownHostsFile $ENGINE/known_hosts
END
"$(command -v sshd)" -f "$ENGINE/sshd_config" -E "$ENGINE/log/sshd.log" </dev/null
printf '#!/bin/sh\nexec "%s" -F "%s" "$@"\n' "$(command -v ssh)" "$ENGINE/ssh_config" >"$ENGINE/bin/ssh"
chmod +x "$ENGINE/bin/ssh"
until_true 30 "$ENGINE/bin/ssh" -o BatchMode=yes build1 true || skip "sshd does not come up: $(tail -n 1 "$ENGINE/log/sshd.log")"

# ---------------------------------------------------------------- the tests

if [ "${1:-}" = -- ]; then
    "${@:2}"
    exit
fi
PYTHONPATH="$PWD" "${PYTHON:-python3}" -m unittest discover -s tests/engine "$@" </dev/null
