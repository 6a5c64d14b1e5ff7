#!/bin/sh
# mirror FOLDER PACKAGE...: packs installed packages again as .deb files, and makes FOLDER an apt repository.
set -eu
folder=$1
shift
mkdir -p "$folder"
for package; do
    tree=$(mktemp -d)
    mkdir "$tree/DEBIAN"
    # what only dpkg's own list of the installed has, is left out
    dpkg-query --status "$package" |
        awk '/^[^ ]/ { skip = /^(Status|Conffiles):/ } !skip' >"$tree/DEBIAN/control"
    # documentation may be missing: nodes are installed without it
    dpkg-query --listfiles "$package" |
        while read -r path; do if [ -e "$path" ] && [ ! -d "$path" ]; then echo "${path#/}"; fi; done |
        tar --directory / --no-recursion --create --files-from - | tar --directory "$tree" --extract
    dpkg-deb --root-owner-group --build "$tree" "$folder" >/dev/null
    rm -rf "$tree"
done
cd "$folder"
apt-ftparchive packages . >Packages
apt-ftparchive release . >Release
