#include "core/text/sentencepiece_library.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

#include "core/text/module/sentencepiece_module.h"

namespace volery::text {
namespace {

constexpr size_t kMessage = 512;

struct Module {
  const VolerySentencePieceTable* table = nullptr;
  std::string problem;
};

Module OpenModule() {
  std::error_code ignored;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const std::string path = (program.parent_path() / "../lib/volery/volery-sentencepiece.so").string();
  int flags = RTLD_NOW | RTLD_LOCAL;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they refuse it; no LibTorch is there
  flags |= RTLD_DEEPBIND;
#endif
  Module module;
  void* const handle = dlopen(path.c_str(), flags);
  void* const entry = handle ? dlsym(handle, "volery_sentencepiece") : nullptr;
  if (entry)
    module.table = reinterpret_cast<decltype(&volery_sentencepiece)>(entry)();
  else
    module.problem = std::string("the part of volery that reads SentencePiece models can't be opened: ") + dlerror();
  return module;
}

const Module& TheModule() {
  static const Module module = OpenModule();
  return module;
}

}  // namespace

SentencePieceLibrary::~SentencePieceLibrary() {
  if (model_) table_->destroy(model_);
}

std::string SentencePieceLibrary::Load(std::string_view model) {
  const Module& module = TheModule();
  if (!module.table) return module.problem;
  table_ = module.table;
  if (!model_) model_ = table_->create();
  char message[kMessage] = "";
  return table_->load(model_, model.data(), model.size(), message, kMessage) ? "" : message;
}

std::string SentencePieceLibrary::Encode(std::string_view text, std::vector<int>* ids) const {
  ids->clear();
  if (!model_) return "no model is loaded";
  char message[kMessage] = "";
  const auto emit = [](void* context, int id) { static_cast<std::vector<int>*>(context)->push_back(id); };
  return table_->encode(model_, text.data(), text.size(), emit, ids, message, kMessage) ? "" : message;
}

}  // namespace volery::text
