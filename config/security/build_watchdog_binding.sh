#!/usr/bin/env bash
# Build the cyclonedds Python binding against the Cyclone DDS that ROS 2 itself uses, because that
# one has DDS Security and the binding's wheel has not. Wanted: gcc, a sourced ROS 2 (or `./dev
# shell`), and where ROS 2 brings no C headers Debian's apt-get (headers of the same 0.10 series).
#   build_watchdog_binding.sh FOLDER
#   ros2 run safety_reflex safety_watchdog --binding FOLDER
set -euo pipefail
target=${1:?which folder is the binding to be put into?}
if [ -e "$target" ]; then echo "$target is there already; name another folder" >&2; exit 2; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

library=
IFS=: read -ra folders <<< "${LD_LIBRARY_PATH:-}"
for folder in "${folders[@]}"; do
  if [ -e "$folder/libddsc.so.0" ]; then library=$(readlink -f "$folder")/libddsc.so.0; break; fi
done
if [ -z "$library" ]; then
  echo 'libddsc.so.0 is not on LD_LIBRARY_PATH: source ROS 2 first' >&2; exit 2
fi
if [ ! -e "$(dirname "$library")/libdds_security_auth.so" ]; then
  echo "$library comes without the DDS Security plugins" >&2; exit 2
fi

home=$work/home
mkdir -p "$home/include" "$home/lib" "$home/bin"
if [ -e /opt/ros/jazzy/include/dds/dds.h ]; then
  cp -r /opt/ros/jazzy/include/. "$home/include/"
else
  (cd "$work" && apt-get download cyclonedds-dev libiceoryx-binding-c-dev >/dev/null 2>&1)
  for package in "$work"/*.deb; do dpkg -x "$package" "$work/headers"; done
  cp -r "$work/headers/usr/include/." "$home/include/"
  cp -r "$work/headers/usr/include/$(gcc -print-multiarch)/dds/." "$home/include/dds/"
fi
ln -s "$library" "$home/lib/libddsc.so"

python3 -m venv "$work/venv"
pip() { env -u PYTHONPATH "$work/venv/bin/pip" "$@"; }
pip install --quiet 'setuptools==79.0.1' 'wheel==0.45.1'
cat > "$work/binding.txt" <<'PIN'
cyclonedds==0.10.2 --hash=sha256:f834962eabbdcdf4e9cd75cf87222f3c5ef22d9cb9e7ed651d9a8710fe984a30
PIN
CYCLONEDDS_HOME=$home pip install --quiet --no-deps --no-build-isolation \
  --no-binary :all: --require-hashes --target "$target" -r "$work/binding.txt"
# Found by path, and the very file that the compiled part has been linked to.
printf "in_wheel = False\nlibrary_path = '%s'\n" "$library" > "$target/cyclonedds/__library__.py"
PYTHONPATH=$target${PYTHONPATH:+:$PYTHONPATH} python3 -c 'import cyclonedds.domain' \
  || { rm -rf "$target"; echo 'the binding was built but does not load' >&2; exit 1; }
echo "$target: built against $library"
