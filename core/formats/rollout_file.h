#pragma once
// Rollout files: one Parquet file a step (snappy, one row group), a row a rollout. The first 17 columns are
// those of prime-rl's rollout files of June 2025, same names, order and types; four of our own follow. Arrow
// stays behind this header.
//
//   VOLERY_ASSIGN_OR_RETURN(std::string bytes, EncodeRollouts(table));
//   VOLERY_RETURN_IF_ERROR(base::WriteFileAtomic(path, bytes));

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/status.h"

namespace volery::formats {

// Members stand in the order of the columns and carry their names.
struct RolloutRow {
  std::vector<int32_t> input_tokens;
  std::vector<int32_t> output_tokens;
  std::optional<std::vector<float>> input_logprobs;
  std::optional<std::vector<float>>
      output_logprobs;  // one an output token; null where the sampler supplies none
  std::string prompt;   // UTF-8
  std::string problem_id;
  std::string completion;
  float advantages = 0;
  float rewards = 0;
  float task_rewards = 0;
  float length_penalties = 0;
  std::string proofs;           // bytes; empty without proofs
  int32_t step = 0;             // weight version that the rollout was sampled with (the oldest)
  int32_t target_lengths = -1;  // -1: none
  std::string task_type;
  std::optional<int64_t> seed;
  float temperature = 1;
  uint64_t group_id = 0;          // GroupId::bits
  int32_t sample = -1;            // number within the group; -1 in files of 17 columns
  std::vector<int64_t> versions;  // weight version of each output token
  std::string stop_reason;        // "stop" | "length" | "cancelled"
};
using RolloutTable = std::vector<RolloutRow>;

// The whole file. InvalidArgument: text that isn't UTF-8, naming the column. Thread-safe.
StatusOr<std::string> EncodeRollouts(const RolloutTable& table);

// `where` names the file in messages. Accepts lists whose child is named element or item, any order of
// columns and further columns; without our four columns (all or none of them) their members keep their
// defaults. InvalidArgument: no Parquet file, a column that is missing or of another type, a null where none
// may be, log-probs or versions whose number isn't that of the output tokens. Thread-safe.
StatusOr<RolloutTable> DecodeRollouts(std::span<const std::byte> bytes, const std::string& where);

}  // namespace volery::formats
