#include "core/text/sentencepiece_library.h"

#include <sentencepiece_processor.h>

#include <exception>

namespace volery::text {
namespace {

// Calls `work`, which gives a status of the library; the double arrays inside it throw.
template <class Work>
std::string MessageOf(const Work& work) {
  try {
    const sentencepiece::util::Status status = work();
    if (status.ok()) return "";
    return status.error_message()[0] != '\0' ? status.error_message() : "no reason given";
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

SentencePieceLibrary::SentencePieceLibrary()
    : processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {}
SentencePieceLibrary::~SentencePieceLibrary() = default;

std::string SentencePieceLibrary::Load(std::string_view model) {
  return MessageOf([&] { return processor_->LoadFromSerializedProto(model); });
}

std::string SentencePieceLibrary::Encode(std::string_view text, std::vector<int>* ids) const {
  return MessageOf([&] { return processor_->Encode(text, ids); });
}

}  // namespace volery::text
