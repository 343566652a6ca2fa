# Builds the image of the folder $1, runs it alone on its own loopback, and asks it as its
# health check does. In namespaces of its own.
set -euo pipefail
export TMPDIR=/mnt STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
ip link set lo up
mount -t tmpfs tmpfs /mnt
buildah --root /mnt/s --runroot /mnt/r build --format docker --tag legate --file "$2" "$1"
box=$(buildah --root /mnt/s --runroot /mnt/r from --pull-never localhost/legate)
inside() { buildah --root /mnt/s --runroot /mnt/r run --network host "$box" -- "$@"; }
inside /legate agent -data-dir=/data -server -bootstrap-expect=1 -bind=127.0.0.1 &
inside /legate ready -wait=2m
inside /legate kv put a b
test "$(inside /legate kv get a)" = b
