#pragma once
// Marks what libvolery-nn exports; everything else in it is hidden.
#define VOLERY_NN_EXPORT __attribute__((visibility("default")))
