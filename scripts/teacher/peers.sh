#!/usr/bin/env bash
# Builds llama.cpp's own `llama-batched-bench` and `llama-server` for scripts/teacher/compare.py, with the
# compiler flags and options of the llama.cpp inside promptmix (read from the CMake cache of its build), so
# that only the programs around the library differ, not the library itself.
#
# The library's sources are copied from the crate llama-cpp-sys-2, found with `cargo metadata`. The crate
# does not contain the programs: they come from the source archive of llama-cpp-python on PyPI, which has a
# llama.cpp of nearly the same week, and two lines of the server are changed to fit.
# The result is FOLDER/llama-batched-bench and FOLDER/llama-server, a Release build without the web UI.
#
# Needs:   what `cargo build` needs (scripts/setup), bash, python3 with pip; a network, once (77 MB); an
#          earlier `cargo build --release`. Takes 3 minutes on 2 cores and 1 GB in FOLDER.
# Example: scripts/teacher/peers.sh                    into target/peers
#          scripts/teacher/peers.sh /tmp/peers
#          scripts/teacher/peers.sh --whole            also takes the library from the archive, in case a
#                                                      later crate and the programs no longer fit together
#          JOBS=8 PYTHON=.venv/bin/python scripts/teacher/peers.sh
set -euo pipefail

archive=llama-cpp-python==0.3.36 # llama.cpp 0.5; the crate 0.1.161 has 0.6-dev, with the same llama.h
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-python3} cmake=${CMAKE:-cmake} jobs=${JOBS:-2} whole=''
if [ "${1:-}" = --whole ]; then whole=yes; shift; fi

fail() {
    printf 'peers: %s\nhint: %s\n' "$1" "$2" >&2
    exit 2
}

found=$(cargo metadata --locked --format-version 1 | "$python" -c '
import json, os, sys
m = json.load(sys.stdin)
crate = [p for p in m["packages"] if p["name"] == "llama-cpp-sys-2"]
print(os.path.dirname(crate[0]["manifest_path"]) if crate else "")
print(m["target_directory"])')
crate=$(printf '%s\n' "$found" | sed -n 1p)/llama.cpp
target=$(printf '%s\n' "$found" | sed -n 2p)
[ -f "$crate/CMakeLists.txt" ] || fail "$crate has no llama.cpp" "cargo fetch --locked"
mkdir -p "${1:-$target/peers}"
folder=$(cd "${1:-$target/peers}" && pwd)

# The newest build of the crate, in any profile's folder.
cache=''
for candidate in "$target"/*/build/llama-cpp-sys-2-*/out/build/CMakeCache.txt; do
    if [ -f "$candidate" ] && { [ -z "$cache" ] || [ "$candidate" -nt "$cache" ]; }; then cache=$candidate; fi
done
[ -n "$cache" ] || fail "no build of llama-cpp-sys-2 below $target, so its flags are not known" "cargo build --release"

# The programs' sources, unless the crate has them.
programs=$crate
if [ -n "$whole" ] || [ ! -f "$crate/tools/server/server.cpp" ] || [ ! -f "$crate/tools/batched-bench/batched-bench.cpp" ]; then
    if [ ! -d "$folder/archive" ]; then
        rm -rf "$folder/download" && mkdir -p "$folder/download"
        "$python" -m pip download --quiet --no-deps --no-binary llama-cpp-python --dest "$folder/download" "$archive" ||
            fail "pip could not fetch the sources of $archive" "python3 with pip and a network; PYTHON=path chooses another python"
        mkdir "$folder/download/unpacked"
        tar -xzf "$folder"/download/llama_cpp_python-*.tar.gz -C "$folder/download/unpacked" --strip-components 1
        mv "$folder/download/unpacked/vendor/llama.cpp" "$folder/archive"
        rm -rf "$folder/download"
    fi
    programs=$folder/archive
fi

# -p keeps the files' timestamps, so that a second run compiles little.
rm -rf "$folder/src"
if [ -n "$whole" ]; then cp -Rp "$programs" "$folder/src"; else cp -Rp "$crate" "$folder/src"; fi
chmod -R u+w "$folder/src"
mkdir -p "$folder/src/scripts"
cp -p "$programs/scripts/ui-assets.cmake" "$folder/src/scripts/"
for tool in batched-bench server ui; do
    rm -rf "$folder/src/tools/$tool"
    cp -Rp "$programs/tools/$tool" "$folder/src/tools/"
done
if [ -z "$whole" ] && [ "$programs" != "$crate" ]; then
    # The newer library lacks one function (it was std::ifstream), and another one now returns a struct.
    # Neither is called here: they are for MCP servers and image models.
    server=$folder/src/tools/server
    sed 's/= fs_open_ifstream(params.mcp_servers_config, std::ios::in);/(params.mcp_servers_config, std::ios::in);/' \
        "$programs/tools/server/server-mcp.cpp" >"$server/server-mcp.cpp"
    sed 's/\(= mtmd_get_memory_usage(mmproj_path.c_str(), mparams)\);/\1.backend_mem_usage;/' \
        "$programs/tools/server/server-context.cpp" >"$server/server-context.cpp"
    touch -r "$programs/tools/server/server-mcp.cpp" "$server/server-mcp.cpp"
    touch -r "$programs/tools/server/server-context.cpp" "$server/server-context.cpp"
fi
cat >"$folder/src/tools/CMakeLists.txt" <<'CMAKE'
find_package(Threads REQUIRED)
llama_add_compile_flags()
add_subdirectory(batched-bench)
add_subdirectory(mtmd)
add_subdirectory(ui)
add_subdirectory(server)
CMAKE

flags=()
while IFS= read -r line; do flags+=("-D$line"); done < <(grep -E \
    '^(GGML_[A-Z0-9_]+:(BOOL|STRING)|CMAKE_(C|CXX)_(FLAGS|FLAGS_RELEASE|COMPILER):[A-Z]+|CMAKE_BUILD_TYPE:[A-Z]+)=.' "$cache")
printf 'peers: flags of %s\n' "$cache" >&2
printf '%s\n' "${flags[@]}" | grep -E '_FLAGS|BUILD_TYPE|=ON' | tr '\n' ' ' >&2
printf '\n' >&2
"$cmake" -S "$folder/src" -B "$folder/build" "${flags[@]}" -DBUILD_SHARED_LIBS=OFF \
    -DLLAMA_BUILD_COMMON=ON -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_SERVER=ON -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
    -DLLAMA_OPENSSL=OFF >"$folder/build.log" 2>&1 ||
    fail "CMake failed: $folder/build.log" "scripts/setup installs what it needs"
nice -n 10 "$cmake" --build "$folder/build" -j "$jobs" -t llama-batched-bench -t llama-server >>"$folder/build.log" 2>&1 ||
    fail "the build failed: $folder/build.log" "scripts/teacher/peers.sh --whole takes library and programs from one archive"
cp "$folder/build/bin/llama-batched-bench" "$folder/build/bin/llama-server" "$folder/"
printf '%s\n' "$folder/llama-batched-bench" "$folder/llama-server"
