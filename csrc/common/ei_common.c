/* Aligned memory. */
#define _POSIX_C_SOURCE 200112L /* posix_memalign: Windows and an old macOS have no aligned_alloc */
#include "common/ei_common.h"

#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <malloc.h>
#endif

void *ei_aligned(size_t alignment, size_t bytes)
{
#ifdef _WIN32
    return _aligned_malloc(bytes, alignment);
#else
    void *pointer;
    return posix_memalign(&pointer, alignment, bytes) == 0 ? pointer : NULL;
#endif
}

void ei_free(void *pointer)
{
#ifdef _WIN32
    _aligned_free(pointer);
#else
    free(pointer);
#endif
}

void *ei_alloc(size_t count, size_t size)
{
    size_t bytes;
    if (ei_mul(count, size, &bytes) || bytes > SIZE_MAX - 64)
        return NULL;
    bytes = (bytes + 63) & ~(size_t)63;
    return ei_aligned(64, bytes ? bytes : 64);
}

void *ei_zalloc(size_t count, size_t size)
{
    void *pointer = ei_alloc(count, size);
    if (pointer != NULL)
        memset(pointer, 0, count * size);
    return pointer;
}

void *ei_hold(ei_memory *memory, size_t count, size_t size)
{
    void *pointer = memory->n < EI_HELD ? ei_alloc(count, size) : NULL;
    if (pointer == NULL)
        memory->failed = 1;
    else
        memory->block[memory->n++] = pointer;
    return pointer;
}

void *ei_hold_zeros(ei_memory *memory, size_t count, size_t size)
{
    void *pointer = ei_hold(memory, count, size);
    if (pointer != NULL)
        memset(pointer, 0, count * size);
    return pointer;
}

void ei_release(ei_memory *memory)
{
    while (memory->n > 0)
        ei_free(memory->block[--memory->n]);
    memory->failed = 0;
}
