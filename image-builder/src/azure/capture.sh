#!/bin/sh
# Keeps what a running machine said of itself as evidence. Written by `image-builder azure`.
#
#   ./capture.sh              writes capture-NAME-TIME/ and capture-NAME-TIME.tar.gz, each of which
#                             `image-builder classify` reads
#   ./capture.sh --dry-run    print every step and do nothing
#
# serial.log     the serial port's log, as Azure gave it
# machine.json   size, region, image, security and disks of the machine, as Azure describes it
# capture.txt    the time, the VHD's hash, and hashes of the two files: NAME=VALUE, a line each
# GROUP and NAME are those of deploy.sh.
set -eu
cd "$(dirname -- "$0")"

VHD_SHA256=@VHD_SHA256@
IMAGE_VERSION=1.0.@VERSION@
GROUP=${GROUP:-charter}
NAME=${NAME:-@SYSTEM@}

time=$(date -u +%Y%m%dT%H%M%SZ)
folder=capture-$NAME-$time
# Only what identifies neither the account nor its owner.
query='{size:hardwareProfile.vmSize,location:location,image:storageProfile.imageReference.exactVersion,controller:storageProfile.diskControllerType,security:securityProfile,os_disk_gb:storageProfile.osDisk.diskSizeGb,data_disks:storageProfile.dataDisks[].{lun:lun,gb:diskSizeGb}}'

case ${1:-} in
'') ;;
--dry-run)
    echo "+ az vm boot-diagnostics get-boot-log --resource-group $GROUP --name $NAME >$folder/serial.log"
    echo "+ az vm show --resource-group $GROUP --name $NAME --query '$query' --output json >$folder/machine.json"
    echo "+ tar -czf $folder.tar.gz $folder"
    exit 0
    ;;
*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac

mkdir "$folder"
az vm boot-diagnostics get-boot-log --resource-group "$GROUP" --name "$NAME" >"$folder/serial.log"
az vm show --resource-group "$GROUP" --name "$NAME" --query "$query" --output json >"$folder/machine.json"
hash() { sha256sum "$folder/$1" | cut -d ' ' -f 1; }
{
    echo "time=$time"
    echo "system=$NAME"
    echo "image_version=$IMAGE_VERSION"
    echo "vhd_sha256=$VHD_SHA256"
    echo "serial_log_sha256=$(hash serial.log)"
    echo "machine_sha256=$(hash machine.json)"
} >"$folder/capture.txt"
tar -czf "$folder.tar.gz" "$folder"
grep -q 'charter: boot complete' "$folder/serial.log" ||
    echo "capture.sh: the log has no line 'charter: boot complete'; kept all the same" >&2
echo "capture.sh: wrote $folder.tar.gz; next: image-builder classify $folder.tar.gz"
