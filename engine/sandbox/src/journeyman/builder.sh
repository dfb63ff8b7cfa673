#!/bin/sh
# Stands in for `docker` where a drill builds an image: takes the same words, and keeps beside itself what the machine has
# and, apart from that, what a registry would.
# An image's digest is that of the files that it was built from.
set -eu
place=$(dirname "$0")
# A file for each tag, and one for each image's `RepoDigests`; a file for each tag or digest that was pushed.
mkdir -p "$place/images/tags" "$place/images/digests" "$place/registry"

flat() { printf '%s' "$1" | tr '/:@' '___'; }
tagged() { printf '%s/images/tags/%s' "$place" "$(flat "$1")"; }
pushed() { printf '%s/registry/%s' "$place" "$(flat "$1")"; }
image_of() { cat "$(tagged "$1")" 2>/dev/null || { echo "no such image: $1" >&2; exit 1; }; }

case "$1 ${2:-}" in
  'build '*)
    shift
    tag=
    while [ $# -gt 1 ]; do
      case $1 in
        --tag) tag=$2; shift 2 ;;
        --label) shift 2 ;;
        *) echo "this stand-in does not know $1" >&2; exit 125 ;;
      esac
    done
    sum=$(cd "$1" && find . -name .git -prune -o -type f -print | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum)
    printf '%s\n' "${sum%% *}" >"$(tagged "$tag")"
    ;;
  'tag '*) image_of "$2" >"$(tagged "$3")" ;;
  'push '*)
    sum=$(image_of "$2")
    name=${2%:*}@sha256:$sum
    digests=$place/images/digests/$sum
    echo "$sum" >"$(pushed "$2")"
    echo "$sum" >"$(pushed "$name")"
    grep -qxF "$name" "$digests" 2>/dev/null || echo "$name" >>"$digests"
    ;;
  'manifest inspect') [ -f "$(pushed "$3")" ] || { echo "no such manifest: $3" >&2; exit 1; } ;;
  'image inspect')
    [ "$3" = --format ] || { echo "this stand-in prints nothing but what --format asks for" >&2; exit 125; }
    sum=$(image_of "$5")
    digests=$place/images/digests/$sum
    case $4 in
      '{{range .RepoDigests}}{{println .}}{{end}}') [ ! -f "$digests" ] || cat "$digests"; echo ;;
      *) echo "this stand-in does not know the format $4" >&2; exit 125 ;;
    esac
    ;;
  *) echo "this stand-in does not know $1" >&2; exit 125 ;;
esac
