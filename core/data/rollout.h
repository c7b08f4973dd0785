#pragma once
// The words of the loop as plain data: Task, Span, Rollout, Group. Tokens in, tokens out: text is never encoded again.
// Nothing here knows LibTorch, files or threads.

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/ids.h"

namespace volery::data {

// A prompt with what is needed to reward it.
struct Task {
  int64_t index = 0;               // row in its dataset
  std::string id;                  // the dataset's id column, or "<index>"
  std::string type;                // task_type column, or ""
  std::string prompt_text;         // as the model reads it (chat rendered)
  std::string answer;              // the answer column, or ""
  std::vector<int32_t> prompt;     // token ids, template and specials included
  nlohmann::json columns;          // every dataset column by name (object)
};

enum class SpanOrigin : uint8_t { kPrompt, kSampled, kInserted };

// Weights used from one position on: age counts the oldest version in the decode state.
struct VersionMark {
  int32_t first = 0;       // index within the span
  VersionId version;       // that computed the logits
  VersionId oldest_state;  // oldest version that wrote any decode state read here
};

// A run of tokens of one origin. Sampled: log-probs (of log-softmax(masked logits / T)) and versions are filled.
struct Span {
  SpanOrigin origin = SpanOrigin::kPrompt;
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;         // sampled: one a token; else empty
  std::vector<VersionMark> versions;   // sampled: ascending `first`, the first is 0; else empty
  std::vector<uint8_t> loss_mask;      // empty: 1 for sampled, 0 otherwise
};

enum class StopReason : uint8_t { kStop, kLength, kCancelled };
const char* StopReasonName(StopReason reason);  // "stop" | "length" | "cancelled"

enum class RewardStatus : uint8_t { kOk, kTimeout, kError, kNotApplicable };
const char* RewardStatusName(RewardStatus status);  // "ok" | "timeout" | "error" | "not_applicable"

struct RewardComponent {
  std::string name;
  double value = 0;
};

struct Score {
  RewardStatus status = RewardStatus::kOk;
  double total = 0;                          // weighted sum over the recipe's rewards
  std::vector<RewardComponent> components;   // "<plugin>" or "<plugin>/<part>", unweighted
  std::string message;                       // of a failure
  double ms = 0;
};

struct Rollout {
  GroupId group;
  int32_t sample = 0;
  std::vector<Span> spans;         // a single-turn rollout has two: prompt, sampled
  StopReason stop = StopReason::kStop;
  std::string completion;          // decoded sampled text, without the stop token
  float temperature = 1;
  Score score;

  int64_t PromptLength() const;    // tokens of the leading prompt span
  int64_t Length() const;          // all tokens
  int64_t SampledLength() const;
  VersionId OldestVersion() const; // smallest oldest_state of all marks; VersionId(-1) without sampled tokens
  std::vector<int32_t> Tokens() const;        // all spans joined
  // One entry a token of Tokens(): behaviour log-prob (0 where not sampled), loss mask, weight version (-1 where none).
  std::vector<float> Logprobs() const;
  std::vector<uint8_t> LossMask() const;
  std::vector<int64_t> Versions() const;
};

// The rollouts of one task.
struct Group {
  GroupId id;
  std::shared_ptr<const Task> task;
  std::vector<Rollout> rollouts;   // by sample number; a rollout whose reward failed is left out by the scorer's caller
  std::vector<double> advantages;  // filled by the algorithm: one a rollout
};

// What the trainer turns version s into s + 1 with: the groups of step s in the order of their ids.
struct TrainBatch {
  StepId step;
  std::vector<Group> groups;
};

}  // namespace volery::data
