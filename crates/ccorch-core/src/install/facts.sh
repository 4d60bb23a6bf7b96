# Prints what an installation has to know, as key=value lines. Reads only.
# Arguments: USER WORKSPACE "LOOP-USER ..." PROGRAM... -- FILE...
set -u
LC_ALL=C PATH="$PATH:/usr/sbin:/sbin:/usr/local/bin"
export LC_ALL PATH
user=$1 workspace=$2 loop_users=$3
shift 3
say() { printf '%s=%s\n' "$1" "$2"; }
has() { command -v "$1" >/dev/null 2>&1; }
free() { # KiB free where a path is or would be
    there=$1
    while [ ! -e "$there" ]; do there=$(dirname "$there"); done
    df -Pk -- "$there" | awk 'NR == 2 { print $4 }'
}
file() {
    [ -f "$1" ] && say file "$(sha256sum <"$1" | cut -d' ' -f1) $(stat -c %a -- "$1") $1"
}

say arch "$(uname -m)"
if [ -r /etc/os-release ]; then
    (. /etc/os-release && say os "${ID:-}" && say os_version "${VERSION_ID:-}")
fi
say libc "$(getconf GNU_LIBC_VERSION 2>/dev/null)"
say free_binary "$(free /usr/local/bin)"
say free_workspace "$(free "$workspace")"
has apt-get && say apt yes
if entry=$(getent passwd "$user"); then
    say user "$(printf '%s\n' "$entry" | cut -d: -f3,6)"
fi
for one in $loop_users; do
    getent passwd "$one" >/dev/null || continue
    if [ "$(id -gn -- "$one")" = "$(id -gn -- "$user" 2>/dev/null)" ]; then say loop_user "$one:yes"; else say loop_user "$one:no"; fi
done
if [ -e "$workspace" ]; then
    say workspace_owner "$(stat -c %U -- "$workspace")"
    say workspace_real "$(readlink -f -- "$workspace")"
fi
if [ -x /usr/local/bin/ccorch ]; then
    say binary "$(sha256sum </usr/local/bin/ccorch | cut -d' ' -f1)"
    say version "$(timeout 10 /usr/local/bin/ccorch --version 2>/dev/null | head -n1)"
fi
if has systemctl; then
    say systemd "$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')"
    [ -d /run/systemd/system ] && say booted yes
    say state "$(systemctl is-system-running 2>/dev/null)"
    systemctl is-enabled --quiet ccorch.target 2>/dev/null && say enabled yes
    if systemctl show -p NeedDaemonReload 'ccorch*' ccorch.target 2>/dev/null | grep -q '=yes'; then
        say needs_reload yes
    fi
    say supervisor "$(systemctl is-active ccorch-supervisor.service 2>/dev/null)"
    systemctl list-units --no-legend --plain --state=active 'ccorch-loop@*' 2>/dev/null |
        while read -r unit _; do say loop "$unit"; done
fi
while [ "$#" -gt 0 ] && [ "$1" != -- ]; do
    has "$1" && say program "$1"
    shift
done
[ "$#" -gt 0 ] && shift
for path in "$@"; do file "$path"; done
if [ -f /etc/ccorch/installed ]; then
    while IFS= read -r path; do
        say installed "$path"
        file "$path"
    done </etc/ccorch/installed
fi
exit 0
