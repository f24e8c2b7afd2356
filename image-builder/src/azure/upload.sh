#!/bin/sh
# Writes a VHD to a page blob that is there already and reads as zeros, as a managed disk made for an upload does.
#
#   UPLOAD_TO=ADDRESS ./upload.sh charter.vhd
#
# ADDRESS is the blob's, with the signature that allows to write it; it is kept out of the arguments, which other users
# of this computer can see. Each put is at most 4 MiB, what Azure takes; pages that are all zero are not sent.
set -eu

PUT_BYTES=4194304
API=2021-12-02

vhd=${1:?usage: UPLOAD_TO=ADDRESS upload.sh FILE}
address=${UPLOAD_TO:?the address of the blob}
bytes=$(wc -c <"$vhd")
bytes=$((bytes))
[ $((bytes % 512)) = 0 ] || {
    echo "upload.sh: $vhd is not whole pages of 512 bytes" >&2
    exit 1
}

folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT INT TERM
head -c "$PUT_BYTES" /dev/zero >"$folder/zeros"

start=0
sent=0
while [ "$start" -lt "$bytes" ]; do
    length=$((bytes - start))
    [ "$length" -le "$PUT_BYTES" ] || length=$PUT_BYTES
    tail -c "+$((start + 1))" "$vhd" | head -c "$length" >"$folder/part" || true
    [ "$(wc -c <"$folder/part")" -eq "$length" ] || {
        echo "upload.sh: cannot read $vhd" >&2
        exit 1
    }
    if ! head -c "$length" "$folder/zeros" | cmp -s - "$folder/part"; then
        # curl reads the address from standard input, and tries again what the network or the service lost.
        printf 'url = "%s&comp=page"\n' "$address" | curl --config - --silent --show-error --fail --retry 5 \
            --request PUT --data-binary "@$folder/part" --output /dev/null \
            --header "x-ms-version: $API" --header 'x-ms-page-write: update' --header 'Content-Type:' \
            --header "Expect:" --header "x-ms-range: bytes=$start-$((start + length - 1))" || {
            echo "upload.sh: bytes $start to $((start + length - 1)) were refused" >&2
            exit 1
        }
        sent=$((sent + length))
    fi
    start=$((start + length))
done
echo "upload.sh: $bytes bytes, $sent of them sent"
