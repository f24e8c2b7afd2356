#!/bin/sh
# Brings charter.vhd to Azure and starts a virtual machine from it. Written by `image-builder azure`.
#
#   ./deploy.sh --dry-run     print every step and do nothing; needs neither an account nor the tools
#   ./deploy.sh               do them
#   ./deploy.sh --clean-up    delete the resource group, with everything that this script made in it
#
# Needs the Azure command line (az, signed in) and curl. What can be chosen, by environment variables:
#   GROUP     resource group, made if it is not there     LOCATION  region
#   SIZE      size of the machine; must offer NVMe        NAME      name of everything else
#   SECURITY  Standard, or TrustedLaunch: Secure Boot with your own keys, and a signed image
#   PK, KEK, DB   certificates (PEM) for TrustedLaunch; DB may name several, with spaces between them
set -eu
cd "$(dirname -- "$0")"

VHD=charter.vhd
VHD_BYTES=@VHD_BYTES@
VHD_SHA256=@VHD_SHA256@
# Three numbers, as galleries want them; the last is the charter's system.version.
IMAGE_VERSION=1.0.@VERSION@
SIGNED=@SIGNED@

GROUP=${GROUP:-charter}
LOCATION=${LOCATION:-westeurope}
SIZE=${SIZE:-Standard_D2as_v6}
NAME=${NAME:-@SYSTEM@}
SECURITY=${SECURITY:-@SECURITY@}
PK=${PK:-db.pem}
KEK=${KEK:-db.pem}
DB=${DB:-db.pem}
# Names of galleries have no hyphens.
GALLERY=$(printf '%s' "$NAME" | tr - _)_gallery

dry_run=
clean_up=
for argument; do
    case $argument in
    --dry-run) dry_run=1 ;;
    --clean-up) clean_up=1 ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    esac
done

say() { printf '\n# %s\n' "$*"; }

fail() {
    echo "deploy.sh: $*" >&2
    exit 1
}

# Does a step, or prints it.
run() {
    printf '+'
    for word; do
        case $word in
        *[!A-Za-z0-9_./:=@%,-]* | '') printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
    [ -n "$dry_run" ] || "$@"
}

# Prints what a step answers, or a word that stands for it.
ask() {
    stands_for=$1
    shift
    if [ -n "$dry_run" ]; then
        run "$@" >&2
        printf '%s' "$stands_for"
    else
        "$@"
    fi
}

# A certificate's DER in Base64, on one line.
encoded() { openssl x509 -in "$1" -outform der | openssl base64 -A; }

if [ -n "$clean_up" ]; then
    say "Delete everything"
    run az group delete --name "$GROUP" --yes
    exit 0
fi

case $SECURITY in
Standard) ;;
TrustedLaunch)
    [ "$SIGNED" = yes ] || fail "this image is not signed, Secure Boot would refuse it: build with --sign-key"
    for file in $PK $KEK $DB; do
        [ -e "$file" ] || fail "no certificate $file"
    done
    ;;
*) fail "SECURITY is Standard or TrustedLaunch, not $SECURITY" ;;
esac
if [ -z "$dry_run" ]; then
    for tool in az curl openssl; do
        command -v "$tool" >/dev/null || fail "$tool is not installed"
    done
fi

say "The file is the one that was built"
printf '%s  %s\n' "$VHD_SHA256" "$VHD" | sha256sum --check --quiet || fail "$VHD is not what was built"

say "A resource group for all of it"
run az group create --name "$GROUP" --location "$LOCATION" --output none

say "A disk that waits for exactly these bytes, footer included"
run az disk create --resource-group "$GROUP" --name "$NAME-disk" --location "$LOCATION" \
    --hyper-v-generation V2 --os-type Linux --sku StandardSSD_LRS \
    --upload-type Upload --upload-size-bytes "$VHD_BYTES" --output none

say "Upload, in puts of at most 4 MiB; the address in UPLOAD_TO is a secret for one hour"
UPLOAD_TO=$(ask SAS-ADDRESS az disk grant-access --resource-group "$GROUP" --name "$NAME-disk" \
    --access-level Write --duration-in-seconds 3600 --query 'accessSas || accessSAS' --output tsv)
export UPLOAD_TO
run ./upload.sh "$VHD"
run az disk revoke-access --resource-group "$GROUP" --name "$NAME-disk" --output none
DISK=$(ask DISK-ID az disk show --resource-group "$GROUP" --name "$NAME-disk" --query id --output tsv)

say "A gallery, and what kind of image this is"
# Specialized: nobody in the guest reports to Azure, and a generalized image that does not is restarted.
# NVMe must be named, or sizes that have nothing else refuse the image.
run az sig create --resource-group "$GROUP" --gallery-name "$GALLERY" --location "$LOCATION" --output none
if [ "$SECURITY" = Standard ]; then kind=Standard; else kind=TrustedLaunchSupported; fi
run az sig image-definition create --resource-group "$GROUP" --gallery-name "$GALLERY" \
    --gallery-image-definition "$NAME" --location "$LOCATION" \
    --publisher charter --offer "$NAME" --sku "$kind" --os-type Linux --os-state Specialized \
    --hyper-v-generation V2 --architecture x64 \
    --features "DiskControllerTypes=SCSI,NVMe SecurityType=$kind" --output none

say "The image"
if [ "$SECURITY" = Standard ]; then
    run az sig image-version create --resource-group "$GROUP" --gallery-name "$GALLERY" \
        --gallery-image-definition "$NAME" --gallery-image-version "$IMAGE_VERSION" --location "$LOCATION" \
        --os-snapshot "$DISK" --replica-count 1 --output none
    IMAGE=$(ask IMAGE-ID az sig image-version show --resource-group "$GROUP" --gallery-name "$GALLERY" \
        --gallery-image-definition "$NAME" --gallery-image-version "$IMAGE_VERSION" --query id --output tsv)
else
    # az has no options for keys: the same request by hand.
    db=
    for certificate in $DB; do
        db="$db${db:+,}\"$(encoded "$certificate")\""
    done
    sed -e "s|@LOCATION@|$LOCATION|g" -e "s|@DISK@|$DISK|" -e "s|@PK@|$(encoded "$PK")|" \
        -e "s|@KEK@|$(encoded "$KEK")|" -e "s|@DB@|$db|" image-version.json >image-version.filled.json
    SUBSCRIPTION=$(ask SUBSCRIPTION-ID az account show --query id --output tsv)
    IMAGE=/subscriptions/$SUBSCRIPTION/resourceGroups/$GROUP/providers/Microsoft.Compute/galleries/$GALLERY
    IMAGE=$IMAGE/images/$NAME/versions/$IMAGE_VERSION
    run az rest --method put --url "$IMAGE?api-version=2024-03-03" --body @image-version.filled.json --output none
    run az sig image-version wait --created --resource-group "$GROUP" --gallery-name "$GALLERY" \
        --gallery-image-definition "$NAME" --gallery-image-version "$IMAGE_VERSION"
fi

say "The machine: reachable by nobody, a data disk to read from"
set -- --resource-group "$GROUP" --name "$NAME" --location "$LOCATION" --image "$IMAGE" --specialized \
    --size "$SIZE" --disk-controller-type NVMe --data-disk-sizes-gb 4 --public-ip-address '' --nsg-rule NONE
if [ "$SECURITY" = Standard ]; then
    set -- "$@" --security-type Standard
else
    set -- "$@" --security-type TrustedLaunch --enable-secure-boot true --enable-vtpm true
fi
run az vm create "$@" --output none

say "The serial port's log; the machine is started again so that it is there from the first line"
run az vm boot-diagnostics enable --resource-group "$GROUP" --name "$NAME"
run az vm restart --resource-group "$GROUP" --name "$NAME" --force
[ -n "$dry_run" ] || sleep 90
run az vm boot-diagnostics get-boot-log --resource-group "$GROUP" --name "$NAME"

say "Next: ./capture.sh keeps the log as evidence, ./deploy.sh --clean-up deletes everything (machines cost money)"
