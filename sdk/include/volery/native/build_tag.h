#pragma once
// Puts the build tag into a library as an ELF note (section .note.volery, name "volery", type 1), where the
// host reads it before it opens the file. VOLERY_BUILD_TAG comes from volery_add_model (CMake); one source
// file of a plugin includes this header. Text of a tag: "sdk=0.1.0 headers=<hash> nn=<hash> torch=2.13.0
// cuda=none compiler=gcc-12 sanitizer=none".

#ifndef VOLERY_BUILD_TAG
#error "VOLERY_BUILD_TAG is not defined: build model plugins with volery_add_model of VolerySdk.cmake"
#endif

__asm__(
    ".pushsection .note.volery,\"a\",%note\n"
    ".balign 4\n"
    ".long 7\n"
    ".long 92f - 91f\n"
    ".long 1\n"
    ".asciz \"volery\"\n"
    ".balign 4\n"
    "91: .ascii \"" VOLERY_BUILD_TAG
    "\"\n"
    "92: .balign 4\n"
    ".popsection\n");
