#pragma once
// C++ convenience that every kind of plugin shares: option declarations, typed option values, the host's
// services. Header only; everything here lives on the plugin's side of the C boundary (volery/abi/plugin.h).

#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

#include "volery/abi/plugin.h"

// The one symbol that a plugin exports.
#define VOLERY_EXPORT_PLUGIN \
  extern "C" __attribute__((visibility("default"), used)) const volery_plugin volery_plugin_entry

namespace volery {

enum class OptionType : uint32_t {
  kBool = VOLERY_OPTION_BOOL,
  kInteger = VOLERY_OPTION_INTEGER,
  kNumber = VOLERY_OPTION_NUMBER,
  kText = VOLERY_OPTION_TEXT
};

// A declaration: static constexpr volery::Option kOptions[] = {{"words", volery::OptionType::kInteger, "0",
// "..."}}; default_value nullptr: the recipe must give it.
struct Option {
  const char* name;
  OptionType type;
  const char* default_value;
  const char* help;
};

inline std::string_view View(volery_text text) {
  return {text.data, static_cast<size_t>(text.size)};
}
inline volery_text Text(std::string_view text) {
  return {text.data(), text.size()};
}

// Writes as much of `text` as the caller's buffer holds. Null-safe.
inline void FillMessage(volery_message* message, std::string_view text) noexcept {
  if (message == nullptr || message->data == nullptr || message->capacity == 0) return;
  size_t length = text.size() < message->capacity ? text.size() : message->capacity - 1;
  std::memcpy(message->data, text.data(), length);
  message->data[length] = 0;
  message->length = static_cast<uint32_t>(length);
}

// The values of the declared options, valid during construction only. A name that was not declared, or
// another type than declared, throws std::logic_error.
class Options {
 public:
  Options(const volery_option_value* const* values, uint64_t count) : values_(values), count_(count) {}

  bool Flag(std::string_view name) const { return Find(name, VOLERY_OPTION_BOOL).integer != 0; }
  int64_t Integer(std::string_view name) const { return Find(name, VOLERY_OPTION_INTEGER).integer; }
  double Number(std::string_view name) const { return Find(name, VOLERY_OPTION_NUMBER).number; }
  std::string Text(std::string_view name) const {
    return std::string(View(Find(name, VOLERY_OPTION_TEXT).text));
  }

 private:
  const volery_option_value& Find(std::string_view name, uint32_t type) const {
    for (uint64_t i = 0; i < count_; ++i) {
      if (values_[i]->name != name) continue;
      if (values_[i]->type != type)
        throw std::logic_error("option \"" + std::string(name) + "\" was declared with another type");
      return *values_[i];
    }
    throw std::logic_error("option \"" + std::string(name) + "\" was not declared");
  }
  const volery_option_value* const* values_;
  uint64_t count_;
};

// The host's services; copy it freely, valid as long as the instance. Thread-safe.
class Host {
 public:
  Host() = default;
  explicit Host(const volery_host* host) : host_(host) {}
  void Log(volery_log_level level, std::string_view message) const {
    if (host_ != nullptr) host_->log(host_, level, Text(message));
  }
  void Metric(std::string_view name, double value) const {
    if (host_ != nullptr) host_->metric(host_, Text(name), value);
  }
  uint32_t RandomWord(uint32_t stream, uint64_t n) const {
    return host_ != nullptr ? host_->random_word(host_, stream, n) : 0;
  }

 private:
  const volery_host* host_ = nullptr;
};

namespace internal {

// The option list of class T (T::kOptions, or none) in the form of the C table, made at compile time.
template <class T>
struct OptionTable {
  static constexpr size_t Count() {
    if constexpr (requires { T::kOptions; }) return sizeof(T::kOptions) / sizeof(T::kOptions[0]);
    return 0;
  }
  struct Specs {
    volery_option_spec specs[Count() + 1] = {};
  };
  static constexpr Specs MakeSpecs() {
    Specs out;
    if constexpr (requires { T::kOptions; }) {
      for (size_t i = 0; i < Count(); ++i) {
        out.specs[i] = {sizeof(volery_option_spec), static_cast<uint32_t>(T::kOptions[i].type),
                        T::kOptions[i].name, T::kOptions[i].default_value, T::kOptions[i].help};
      }
    }
    return out;
  }
  static constexpr Specs kSpecs = MakeSpecs();
  struct Pointers {
    const volery_option_spec* at[Count() + 1] = {};
  };
  static constexpr Pointers MakePointers() {
    Pointers out;
    for (size_t i = 0; i < Count(); ++i) out.at[i] = &kSpecs.specs[i];
    return out;
  }
  static constexpr Pointers kPointers = MakePointers();
};

template <class T>
constexpr const char* Description() {
  if constexpr (requires { T::kDescription; }) return T::kDescription;
  return "";
}

// Runs `body`; an exception becomes a code and a message.
template <class Body>
int32_t Guard(volery_message* message, Body body) noexcept {
  try {
    body();
    return VOLERY_OK;
  } catch (const std::invalid_argument& e) {
    FillMessage(message, e.what());
    return VOLERY_INVALID;
  } catch (const std::exception& e) {
    FillMessage(message, e.what());
    return VOLERY_FAILED;
  } catch (...) {
    FillMessage(message, "an exception that is no std::exception");
    return VOLERY_FAILED;
  }
}

}  // namespace internal
}  // namespace volery
