#pragma once
// Seeded task generators: datasets without a file. Task i is a pure function of (seed, i).
// "reverse": letters to be said backwards, prompt "abc>", answer "cba"; options alphabet, min_length,
// max_length, count.

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "core/base/status.h"
#include "core/data/seams.h"
#include "core/data/task_builder.h"

namespace volery::data {

struct ReverseOptions {
  std::string alphabet = "abcdefghij";  // ASCII, no letter twice, without '>'
  int32_t min_length = 3;
  int32_t max_length = 6;
  int64_t count = 20000;  // tasks
};

// Unknown keys and wrong types are errors that name the key and those that exist.
StatusOr<ReverseOptions> ParseReverseOptions(const nlohmann::json& options);

class ReverseTasks : public TaskSource {
 public:
  static StatusOr<std::shared_ptr<const ReverseTasks>> Make(ReverseOptions options, uint64_t seed,
                                                            TextCallbacks text);
  int64_t size() const override { return options_.count; }
  StatusOr<std::shared_ptr<const Task>> Get(int64_t index) const override;

 private:
  ReverseTasks(ReverseOptions options, uint64_t seed, TextCallbacks text)
      : options_(std::move(options)), seed_(seed), text_(std::move(text)) {}
  ReverseOptions options_;
  uint64_t seed_;
  TextCallbacks text_;
};

// The generator called `name` with its options (a JSON object). Errors: unknown generator (with those that
// exist).
StatusOr<std::shared_ptr<const TaskSource>> MakeGenerator(const std::string& name,
                                                          const nlohmann::json& options, uint64_t seed,
                                                          TextCallbacks text);

}  // namespace volery::data
