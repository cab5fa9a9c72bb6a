/* CUDA's driver and its compiler, both of which do nothing: what a step takes with them is what it costs the host.

   cc -O2 -shared -fPIC -o libcuda.so nothing.c && ln -sf libcuda.so libnvrtc.so

   Every function is there that `--device cuda` calls; kernels are not compiled, launches are counted and dropped, and what
   is read back is zeros. The counts are printed at the end. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SUCCESS = 0, OUT_OF_MEMORY = 2 };

static long launches, allocations, uploads, downloads;

static void count(long *what) { __atomic_add_fetch(what, 1, __ATOMIC_RELAXED); }

__attribute__((destructor)) static void say(void) {
    /* Loaded and let go without a launch, it was only looked for. */
    if (launches)
        fprintf(stderr, "%ld launches, %ld pieces of memory, %ld copies to the device, %ld back\n", launches, allocations,
                uploads, downloads);
}

/* The device: an H100 as far as anyone asks. */

static int attribute(int which) {
    switch (which) {
    case 1: case 2: case 3: return 1024;  /* units of a cube, and along x and y */
    case 4: return 64;                    /* along z */
    case 5: return 2147483647;            /* cubes along x */
    case 6: case 7: return 65535;         /* along y and z */
    case 10: return 32;                   /* units of a plane */
    case 16: return 132;                  /* multiprocessors */
    case 75: return 9;                    /* compute capability, major */
    case 76: return 0;                    /* minor */
    case 97: return 227 << 10;            /* bytes of shared memory of a cube */
    default: return 1;
    }
}

int cuInit(unsigned flags) { return SUCCESS; }
int cuDeviceGetCount(int *devices) { return *devices = 1, SUCCESS; }
int cuDeviceGet(int *device, int index) { return *device = index, SUCCESS; }
int cuDeviceGetAttribute(int *value, int which, int device) { return *value = attribute(which), SUCCESS; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { return *bytes = (size_t)80 << 30, SUCCESS; }
int cuDevicePrimaryCtxRetain(void **context, int device) { return *context = &launches, SUCCESS; }
int cuCtxSetCurrent(void *context) { return SUCCESS; }
int cuGetErrorName(int error, const char **name) { return *name = "error", SUCCESS; }
int cuGetErrorString(int error, const char **text) { return *text = "error", SUCCESS; }

/* Streams and events: nothing is ever waited for. */

int cuStreamCreate(void **stream, unsigned flags) { return *stream = malloc(1), SUCCESS; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return SUCCESS; }
int cuEventCreate(void **event, unsigned flags) { return *event = &launches, SUCCESS; }
int cuEventRecord(void *event, void *stream) { return SUCCESS; }
int cuEventSynchronize(void *event) { return SUCCESS; }
int cuEventDestroy_v2(void *event) { return SUCCESS; }

/* Memory: addresses that nobody touches, but for that which is the host's. */

static int map(void **at, size_t bytes) {
    *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    count(&allocations);
    return *at == MAP_FAILED ? OUT_OF_MEMORY : SUCCESS;
}

int cuMemAllocAsync(void **at, size_t bytes, void *stream) { return map(at, bytes); }
int cuMemAlloc_v2(void **at, size_t bytes) { return map(at, bytes); }
int cuMemAllocHost_v2(void **at, size_t bytes) { return map(at, bytes); }
int cuMemFreeAsync(void *at, void *stream) { return SUCCESS; }
int cuMemFree_v2(void *at) { return SUCCESS; }
int cuMemFreeHost(void *at) { return SUCCESS; }
int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) { return count(&uploads), SUCCESS; }
int cuMemcpy2DAsync_v2(const void *copy, void *stream) { return count(&uploads), SUCCESS; }
int cuMemcpyDtoHAsync_v2(void *to, void *from, size_t bytes, void *stream) {
    return count(&downloads), memset(to, 0, bytes), SUCCESS;
}

/* Kernels */

int cuModuleLoadData(void **module, const void *data) { return *module = &launches, SUCCESS; }
int cuModuleGetFunction(void **function, void *module, const char *name) { return *function = &launches, SUCCESS; }
int cuFuncSetAttribute(void *function, int which, int value) { return SUCCESS; }
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned dim_x, unsigned dim_y, unsigned dim_z,
                   unsigned shared, void *stream, void **arguments, void **more) {
    return count(&launches), SUCCESS;
}

int nvrtcCreateProgram(void **program, const char *source, const char *name, int headers, const char *const *texts,
                       const char *const *names) {
    return *program = &launches, SUCCESS;
}
int nvrtcCompileProgram(void *program, int count, const char *const *options) { return SUCCESS; }
int nvrtcDestroyProgram(void **program) { return SUCCESS; }
int nvrtcGetProgramLogSize(void *program, size_t *bytes) { return *bytes = 1, SUCCESS; }
int nvrtcGetProgramLog(void *program, char *log) { return *log = 0, SUCCESS; }
int nvrtcGetPTXSize(void *program, size_t *bytes) { return *bytes = 1, SUCCESS; }
int nvrtcGetPTX(void *program, char *text) { return *text = 0, SUCCESS; }
const char *nvrtcGetErrorString(int error) { return "error"; }
