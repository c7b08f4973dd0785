#pragma once
// A reward in a few lines of C++. Score() may throw: the sample then counts as failed with the exception's
// text, and is never scored 0. Throw volery::NotApplicable for a sample that this reward does not judge.
//
//   #include <volery/reward.h>
//   class Short : public volery::Reward {
//    public:
//     static constexpr volery::Option kOptions[] = {{"limit", volery::OptionType::kInteger, "80", "longest
//     that pays"}}; Short(const volery::Options& options, volery::Host) : limit_(options.Integer("limit")) {}
//     double Score(const volery::Sample& s) const override { return s.completion.size() <= size_t(limit_) ? 1
//     : 0; }
//    private:
//     int64_t limit_;
//   };
//   VOLERY_REWARD_PLUGIN("example.short/1", Short)
//
// Optional members: kDescription (one line), kMayHang = true (run in a child process that is killed at its
// limit), kWantsGroup = true (ScoreBatch gets whole groups). Score and ScoreBatch are called by several
// threads at once.

#include <memory>
#include <optional>
#include <span>

#include "volery/abi/reward.h"
#include "volery/plugin.h"

namespace volery {

// Thrown by Score: the reward does not apply to this sample; it is left out without counting as a failure.
class NotApplicable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Thrown by Score: the sample could not be judged in time (after Sample::Cancelled).
class Timeout : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A dataset column of a sample. `text` is a string's value, or the JSON text of any other type.
struct Column {
  volery_json_type type = VOLERY_JSON_NULL;
  std::string_view text;
  std::string_view json;
};

// One rollout to judge: views that live during the call.
class Sample {
 public:
  Sample(const volery_reward_call* call, uint64_t index)
      : completion(View(call->samples[index]->completion)),
        prompt(View(call->samples[index]->prompt)),
        answer(View(call->samples[index]->answer)),
        call_(call),
        index_(index) {}

  const std::string_view completion;  // the sampled text, without the stop token
  const std::string_view prompt;      // as the model read it
  const std::string_view answer;      // the dataset's answer column, or empty

  // A column by name; nothing when the dataset row has none of that name.
  std::optional<Column> Find(std::string_view name) const {
    for (uint64_t i = 0; i < raw().column_count; ++i) {
      const volery_reward_column& column = *raw().columns[i];
      if (View(column.name) == name)
        return Column{static_cast<volery_json_type>(column.type), View(column.text), View(column.json)};
    }
    return std::nullopt;
  }
  // The same, where absence is an error of the dataset: throws std::invalid_argument.
  Column Get(std::string_view name) const {
    if (std::optional<Column> found = Find(name)) return *found;
    throw std::invalid_argument("the dataset row has no column \"" + std::string(name) + "\"");
  }
  // Reports a named part of the score, for metrics.
  void Report(std::string_view name, double value) const {
    call_->set_component(call_, index_, Text(name), value);
  }
  // True once the time is up or the run stops: give up soon.
  bool Cancelled() const { return call_->cancelled(call_) != 0; }
  int64_t RemainingMs() const { return call_->remaining_ms(call_); }
  // Ids, tokens, log-probs, stop reason.
  const volery_reward_sample& raw() const { return *call_->samples[index_]; }

 private:
  const volery_reward_call* call_;
  uint64_t index_;
};

// The samples of one call: a batch, or one whole group.
class Batch {
 public:
  explicit Batch(const volery_reward_call* call) : call_(call) {}
  size_t size() const { return call_->sample_count; }
  Sample operator[](size_t i) const { return Sample(call_, i); }
  bool whole_group() const { return (call_->flags & VOLERY_REWARD_CALL_GROUP) != 0; }
  bool Cancelled() const { return call_->cancelled(call_) != 0; }
  void SetScore(size_t i, double score) const { call_->set_result(call_, i, VOLERY_REWARD_OK, score, {}); }
  void SetFailure(size_t i, volery_reward_status status, std::string_view why) const {
    call_->set_result(call_, i, status, 0, Text(why));
  }

 private:
  const volery_reward_call* call_;
};

class Reward {
 public:
  virtual ~Reward() = default;
  // The score of one sample. Any finite number; 0 to 1 by custom.
  virtual double Score(const Sample&) const {
    throw std::logic_error("this reward overrides neither Score nor ScoreBatch");
  }
  // Sets a result for every sample; override it for rewards that compare samples. As it stands: Score, one by
  // one.
  virtual void ScoreBatch(const Batch& batch) const {
    for (size_t i = 0; i < batch.size(); ++i) ScoreOne(batch, i);
  }

 private:
  void ScoreOne(const Batch& batch, size_t i) const {
    if (batch.Cancelled())
      return batch.SetFailure(i, VOLERY_REWARD_TIMEOUT, "the time was up before this sample's turn");
    try {
      batch.SetScore(i, Score(batch[i]));
    } catch (const NotApplicable& e) {
      batch.SetFailure(i, VOLERY_REWARD_NOT_APPLICABLE, e.what());
    } catch (const Timeout& e) {
      batch.SetFailure(i, VOLERY_REWARD_TIMEOUT, e.what());
    } catch (const std::exception& e) {
      batch.SetFailure(i, VOLERY_REWARD_ERROR, e.what());
    } catch (...) {
      batch.SetFailure(i, VOLERY_REWARD_ERROR, "an exception that is no std::exception");
    }
  }
};

namespace internal {

// The C table of an instance of T.
template <class T>
struct RewardInstance {
  volery_reward table{sizeof(volery_reward), 0, nullptr, &RewardInstance::Score, &RewardInstance::Destroy};
  std::unique_ptr<const Reward> reward;

  static std::unique_ptr<const Reward> Make(const Options& options, Host host) {
    if constexpr (std::is_constructible_v<T, const Options&, Host>)
      return std::make_unique<T>(options, host);
    else if constexpr (std::is_constructible_v<T, const Options&>)
      return std::make_unique<T>(options);
    else
      return std::make_unique<T>();
  }
  static int32_t Create(const volery_host* host, const volery_option_value* const* options, uint64_t count,
                        void** instance, volery_message* message) noexcept {
    return Guard(message, [&] {
      auto made = std::make_unique<RewardInstance>();
      made->reward = Make(Options(options, count), Host(host));
      made->table.self = made.get();
      *instance = &made.release()->table;
    });
  }
  static int32_t Score(volery_reward* table, const volery_reward_call* call,
                       volery_message* message) noexcept {
    return Guard(message,
                 [&] { static_cast<RewardInstance*>(table->self)->reward->ScoreBatch(Batch(call)); });
  }
  static void Destroy(volery_reward* table) noexcept { delete static_cast<RewardInstance*>(table->self); }
};

template <class T>
constexpr uint64_t RewardFlags() {
  uint64_t flags = 0;
  if constexpr (requires { T::kMayHang; }) flags |= T::kMayHang ? VOLERY_REWARD_MAY_HANG : 0u;
  if constexpr (requires { T::kWantsGroup; }) flags |= T::kWantsGroup ? VOLERY_REWARD_WANTS_GROUP : 0u;
  return flags;
}

}  // namespace internal
}  // namespace volery

// Makes this library a reward plugin; once a library, at file scope. `id` is "vendor.name/revision".
#define VOLERY_REWARD_PLUGIN(id, Class)                                         \
  VOLERY_EXPORT_PLUGIN = {sizeof(volery_plugin),                                \
                          VOLERY_ABI_MAJOR,                                     \
                          VOLERY_ABI_MINOR,                                     \
                          "reward",                                             \
                          id,                                                   \
                          ::volery::internal::Description<Class>(),             \
                          ::volery::internal::RewardFlags<Class>(),             \
                          ::volery::internal::OptionTable<Class>::kPointers.at, \
                          ::volery::internal::OptionTable<Class>::Count(),      \
                          &::volery::internal::RewardInstance<Class>::Create,   \
                          nullptr};
