#!/bin/sh
# Brings a folder of manifests to a cluster, and ends with 0 only when every machine runs with what its manifest says.
#
#   roll-out.sh FOLDER
#
# Ends with 8 when a manifest is not valid or libvirt would refuse it: then nothing was changed at all.
set -eu
folder=$1

# 1 means that something differs; more means that it could not be found out, or would be refused.
virtctl plan -f "$folder"
differs=0
virtctl diff -f "$folder" >/dev/null || differs=$?
case $differs in
  0) echo "nothing to do"; exit 0 ;;
  1) ;;
  *) exit "$differs" ;;
esac

virtctl apply -f "$folder"

# Names alone, one a line: KIND/NAME, as every command takes them.
for machine in $(virtctl get -f "$folder" -o name); do
  case $machine in
    virtualmachine.*/*) ;;
    *) continue ;;
  esac
  name=${machine#*/}
  if virtctl wait "vm/$name" --for=condition=Ready --timeout=60s; then
    # What could not be changed while it ran.
    waiting=$(virtctl get "vm/$name" -o jsonpath='{.status.restartRequired[*].path}')
    if [ -n "$waiting" ]; then
      echo "$name is restarted for: $waiting"
      virtctl restart "$name"
    fi
  else
    status=$?
    # 5: the time ran out. Whatever it was, `why` has the causes, and what would mend them.
    virtctl why "vm/$name" >&2 || true
    exit "$status"
  fi
done
