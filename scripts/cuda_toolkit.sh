#!/usr/bin/env bash
# Brings a CUDA 13.0 compiler and what `cargo build --features cuda` links, without root, without a GPU
# and without NVIDIA's driver: the wheels that NVIDIA publishes on PyPI, unpacked into one folder. It
# prints the `export` lines that make the build use them. For compiling and linking only: to run the
# program, a machine needs NVIDIA's driver and the CUDA 13 libraries (docs/gpu.md).
#
# Two things are in no wheel, and are made here:
# - libcuda.so.1, which belongs to the driver. A stub with every function of cuda.h stands in for it at
#   link time; each of its functions answers CUDA_ERROR_STUB_LIBRARY.
# - libcublas_static.a, libcublasLt_static.a and libculibos.a, which llama.cpp's binding asks for by
#   name. Empty archives: the functions come from the shared cuBLAS, which candle links as well.
#
# Needs:   Linux on x86_64, bash, python3 with pip, a C compiler; 600 MB from PyPI, 1.6 GB of disk.
# Example: eval "$(scripts/cuda_toolkit.sh)"          the toolkit is in .cuda/ of this project
#          eval "$(scripts/cuda_toolkit.sh /opt/cuda-wheels)"
#          CUDA_COMPUTE_CAP=80 CMAKE_CUDA_ARCHITECTURES=80 cargo build --release --features cuda
set -euo pipefail

say() {
    printf 'cuda_toolkit: %s\n' "$*" >&2
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case ${1:-} in
    -h | --help)
        sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
        exit 0
        ;;
esac
if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
    say "the wheels pinned here are for Linux on x86_64, this is $(uname -s) on $(uname -m)"
    say "hint: install NVIDIA's CUDA toolkit instead"
    exit 2
fi
folder=${1:-$root/.cuda}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
toolkit=$folder/nvidia/cu13

# All of CUDA 13.0 update 2. nvrtc and curand are linked by candle, cccl is headers.
wheels="nvidia-cublas==13.1.0.3 --hash=sha256:ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171
nvidia-cuda-cccl==13.0.85 --hash=sha256:e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649
nvidia-cuda-crt==13.0.88 --hash=sha256:2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4
nvidia-cuda-nvcc==13.0.88 --hash=sha256:56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03
nvidia-cuda-nvrtc==13.0.88 --hash=sha256:ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-curand==10.4.0.35 --hash=sha256:1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc
nvidia-nvvm==13.0.88 --hash=sha256:c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0"

# The functions that cuda.h declares, by the names under which the driver exports them: the header
# renames some by macros (`#define cuMemAlloc cuMemAlloc_v2`), and both names are given.
driver_functions() {
    {
        sed -n 's/^#define \(cu[A-Z][A-Za-z0-9]*\)[ \t]*\(cu[A-Z][A-Za-z0-9_]*\)$/\1\n\2/p' "$1"
        grep -oE '\bcu[A-Z][A-Za-z0-9]*(_v[0-9]+|_ptsz|_ptds)*\(' "$1" | tr -d '('
    } | sort -u
}

make_stub() {
    local source=$folder/stub.c
    {
        echo '/* CUDA_ERROR_STUB_LIBRARY */'
        driver_functions "$toolkit/include/cuda.h" | sed 's/.*/int &(void) { return 34; }/'
    } >"$source"
    mkdir -p "$toolkit/lib/stubs"
    "${CC:-cc}" -shared -fPIC -fno-builtin -Wl,-soname,libcuda.so.1 "$source" -o "$toolkit/lib/stubs/libcuda.so.1"
    ln -sf libcuda.so.1 "$toolkit/lib/stubs/libcuda.so"
    rm "$source"
}

make_empty_archives() {
    local name
    echo 'static int promptmix_nothing_here __attribute__((unused));' >"$folder/empty.c"
    "${CC:-cc}" -c "$folder/empty.c" -o "$folder/empty.o"
    for name in cublas_static cublasLt_static culibos; do
        rm -f "$toolkit/lib/lib$name.a"
        ar rcs "$toolkit/lib/lib$name.a" "$folder/empty.o"
    done
    rm "$folder/empty.c" "$folder/empty.o"
}

if ! [ -f "$folder/complete" ] || [ "$(cat "$folder/complete")" != "$wheels" ]; then
    say "bringing CUDA 13.0 from PyPI into $folder"
    rm -rf "$folder/nvidia" "$folder/complete"
    printf '%s\n' "$wheels" >"$folder/wheels.txt"
    # What is there already, and has the right digest, is not fetched again.
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --require-hashes --requirement "$folder/wheels.txt" --find-links "$folder/wheels" --dest "$folder/wheels" >&2
    for wheel in "$folder"/wheels/*.whl; do
        python3 -m zipfile -e "$wheel" "$folder"
    done
    rm -rf "$folder/wheels" "$folder/wheels.txt" "$folder"/*.dist-info
    # zip files of Python carry no permissions.
    find "$toolkit/bin" "$toolkit/nvvm/bin" -maxdepth 1 -type f -exec chmod +x {} +
    ln -sfn lib "$toolkit/lib64"
    for library in "$toolkit"/lib/lib*.so.*; do
        case $library in *.alt.*) continue ;; esac
        ln -sf "$(basename "$library")" "${library%%.so.*}.so"
    done
    make_stub
    make_empty_archives
    printf '%s' "$wheels" >"$folder/complete"
fi

say "$("$toolkit/bin/nvcc" --version | sed -n 's/^Cuda compilation tools, //p') in $toolkit"
# CUDA_LIBRARY_PATH is read by llama.cpp's binding, CUDA_PATH by candle's cudarc, CUDACXX by CMake,
# and cudarc and candle-kernels look for nvcc on the PATH.
cat <<END
export CUDA_PATH='$toolkit' CUDA_HOME='$toolkit' CUDA_LIBRARY_PATH='$toolkit'
export CUDACXX='$toolkit/bin/nvcc' CUDAToolkit_ROOT='$toolkit'
export PATH='$toolkit/bin':"\$PATH"
END
