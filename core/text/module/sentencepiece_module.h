#pragma once
// The plain C interface of the module that holds the sentencepiece library. The module is opened at run time,
// with its own symbols first: the library and LibTorch both export FLAGS_minloglevel, of different types, and
// linked into one program each would write into the other's.

#include <cstddef>

extern "C" {
// `emit` is called with each id. Both return false and fill `message` (cut to `size` bytes) where the library
// says that something is wrong.
struct VolerySentencePieceTable {
  void* (*create)();
  void (*destroy)(void* model);
  bool (*load)(void* model, const char* bytes, size_t count, char* message, size_t size);
  bool (*encode)(const void* model, const char* text, size_t count, void (*emit)(void* context, int id),
                 void* context, char* message, size_t size);
};
// Exported by the module.
const VolerySentencePieceTable* volery_sentencepiece();
}
