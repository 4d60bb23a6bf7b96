# What would start a legacy rig past its fence, a line each. Arguments: where the host's files lie (empty: at their places),
# workspace, its user, the user's home, what names the rig's start command (empty: nothing does), the fenced units.
# Places of crontabs: cron(8) and anacron(8) of Debian, and of cronie; of at: at(1) of both.
at=$1; root=$2; user=$3; home=$4; start=$5; shift 5
names() { # FILE...: lines that are no comment and name the workspace or the start command
  for file; do
    [ -f "$file" ] || continue
    grep -v '^[[:space:]]*#' -- "$file" | grep -F -e "$root" ${start:+-e "$start"} | while IFS= read -r line; do
      printf '%s: %s\n' "${file#"$at"}" "$line"
    done
  done
}
names "$at/etc/crontab" "$at/etc/anacrontab" "$at/etc/rc.local" "$at"/etc/cron.d/* \
  "$at"/etc/cron.hourly/* "$at"/etc/cron.daily/* "$at"/etc/cron.weekly/* "$at"/etc/cron.monthly/* \
  "$at"/var/spool/cron/crontabs/* "$at"/var/spool/cron/*
# Whatever the rig's own user has started at boot.
for table in "$at/var/spool/cron/crontabs/$user" "$at/var/spool/cron/$user"; do
  [ -f "$table" ] && grep '^[[:space:]]*@reboot' -- "$table" | grep -vF -e "$root" ${start:+-e "$start"} |
    while IFS= read -r line; do printf '%s: %s\n' "${table#"$at"}" "$line"; done
done
# Such a job begins with all of somebody's environment, which is not to be shown.
for job in "$at"/var/spool/cron/atjobs/* "$at"/var/spool/at/*; do
  [ -n "$(names "$job")" ] && echo "${job#"$at"} is a job of at that names $root"
done
enabled() { # UNIT FOLDER: the names by which something wants it: its own, an instance's, those of its timer
  template=no
  case $1 in *@.*) template=yes; any=${1%%@.*} kind=${1##*@.} ;; esac
  for link in "$2"/*.wants/* "$2"/*.requires/*; do
    [ -L "$link" ] || continue
    by=${link##*/}
    case $template,$by in
      "no,$1" | "no,${1%.*}.timer" | "no,${1%.*}.path" | "yes,${any-}@"*".${kind-}" | "yes,${any-}@"*.timer) echo "$by" ;;
    esac
  done | sort -u
}
for unit in "$at"/etc/systemd/system/*.service "$at"/etc/systemd/system/*.timer; do
  [ -f "$unit" ] || continue
  name=${unit##*/}
  case " $* " in *" $name "*) continue ;; esac
  case $name in ccorch*) continue ;; esac
  [ -n "$(names "$unit")" ] || continue
  enabled "$name" "$at/etc/systemd/system" | while IFS= read -r by; do
    # The condition of a fenced unit holds its timer too.
    case " $* " in *" $by "* | *" ${by%.*}.service "*) continue ;; esac
    echo "${unit#"$at"} is enabled as $by, and \`runs.units\` does not name that"
  done
done
if [ -e "$at/var/lib/systemd/linger/$user" ]; then
  for unit in "$at$home"/.config/systemd/user/*.service "$at$home"/.config/systemd/user/*.timer; do
    [ -f "$unit" ] || continue
    enabled "${unit##*/}" "$at$home/.config/systemd/user" | while IFS= read -r by; do
      # A timer is told once, by its own file.
      case ${unit##*/},$by in *.service,*.timer) continue ;; esac
      echo "${unit#"$at"} starts at boot as $by, because $user lingers"
    done
  done
fi
exit 0
