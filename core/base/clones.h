#pragma once
// VOLERY_CLONES before a function: compiled for AVX-512, AVX2 and any x86-64 processor, chosen when the program starts. Only for code whose
// results don't depend on the instructions: integers, or the same separate additions and multiplications everywhere. Not under
// ThreadSanitizer, whose runtime isn't there yet when the choice is made.

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define VOLERY_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VOLERY_CLONES
#endif
