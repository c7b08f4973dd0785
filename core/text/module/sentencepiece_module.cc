#include "sentencepiece_module.h"

#include <sentencepiece_processor.h>

#include <cstdio>
#include <exception>
#include <string_view>
#include <vector>

namespace {

using Processor = sentencepiece::SentencePieceProcessor;

// Calls `work`, which gives a status of the library; the double arrays inside it throw.
template <class Work>
bool Succeeds(char* message, size_t size, const Work& work) {
  try {
    const sentencepiece::util::Status status = work();
    if (status.ok()) return true;
    std::snprintf(message, size, "%s", status.error_message()[0] ? status.error_message() : "no reason given");
  } catch (const std::exception& error) {
    std::snprintf(message, size, "%s", error.what());
  }
  return false;
}

void* Create() {
  return new Processor();
}
void Destroy(void* model) {
  delete static_cast<Processor*>(model);
}
bool Load(void* model, const char* bytes, size_t count, char* message, size_t size) {
  return Succeeds(message, size, [&] {
    return static_cast<Processor*>(model)->LoadFromSerializedProto(std::string_view(bytes, count));
  });
}
bool Encode(const void* model, const char* text, size_t count, void (*emit)(void*, int), void* context,
            char* message, size_t size) {
  std::vector<int> ids;
  const bool done = Succeeds(message, size, [&] {
    return static_cast<const Processor*>(model)->Encode(std::string_view(text, count), &ids);
  });
  if (done)
    for (const int id : ids) emit(context, id);
  return done;
}

constexpr VolerySentencePieceTable kTable = {Create, Destroy, Load, Encode};

}  // namespace

extern "C" __attribute__((visibility("default"))) const VolerySentencePieceTable* volery_sentencepiece() {
  return &kTable;
}
