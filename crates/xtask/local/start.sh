# A host without systemd: sshd, and the verbs that its units would run, kept running.
#
#   start.sh ADDRESS
set -u
export PATH=/usr/local/bin:/usr/sbin:/usr/bin LANG=C.UTF-8 HOME=/root
address=$1
while :; do
    # Taken away by a test, it stays away.
    if [ ! -e /var/no-ssh ]; then /usr/sbin/sshd -D -e -o "ListenAddress=$address" 2>> /var/log/sshd; fi
    sleep 0.02
done &
if [ -e /etc/ccorch/host ]; then
    exec >> /var/log/ccorch 2>&1
    while :; do ccorch supervise; sleep 0.2; done &
    while :; do ccorch lease tick; sleep 2; done &
    # Without a window it has nothing to watch.
    while :; do if [ -e /var/lib/ccorch/confirm.json ]; then ccorch confirm watch; fi; sleep 0.5; done &
fi
wait
