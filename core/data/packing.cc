#include "core/data/packing.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace volery::data {
namespace {

// Where the packer put the tokens of one sequence: prompt tokens from prompt_begin, the rest from rest_begin.
struct Placement {
  int64_t prompt_begin = 0, rest_begin = 0, prompt_length = 0;
  int64_t Row(int64_t position) const {
    return position < prompt_length ? prompt_begin + position : rest_begin + position - prompt_length;
  }
};

int64_t LastTarget(const TrainSequence& sequence) {
  for (int64_t i = sequence.length() - 1; i > 0; --i) {
    if (sequence.loss_mask[static_cast<size_t>(i)]) return i;
  }
  return 0;
}

bool SamePrompt(const TrainSequence& a, const TrainSequence& b) {
  return a.group == b.group && a.prompt_length == b.prompt_length && a.prompt_length > 0 &&
         a.temperature == b.temperature &&
         std::equal(a.tokens.begin(), a.tokens.begin() + a.prompt_length, b.tokens.begin());
}

// Sequences of one micro-batch with the same prompt, in order.
using Family = std::vector<int32_t>;

class MicroBatchBuilder {
 public:
  explicit MicroBatchBuilder(std::span<const TrainSequence> sequences) : sequences_(sequences) {}

  MicroBatch Build(const std::vector<Family>& families) {
    for (const Family& family : families) PlaceFamily(family);
    std::sort(placed_.begin(), placed_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    CollectRows();
    CollectTargets();
    return std::move(batch_);
  }

 private:
  void PlaceFamily(const Family& family) {
    if (family.size() == 1) {
      const TrainSequence& sequence = sequences_[static_cast<size_t>(family[0])];
      const int64_t begin = Append(family[0], 0, LastTarget(sequence), -1);
      placed_.push_back({family[0], {begin, begin, 0}});
      return;
    }
    const TrainSequence& first = sequences_[static_cast<size_t>(family[0])];
    const auto parent = static_cast<int64_t>(batch_.segments.size());
    const int64_t prompt_begin = Append(family[0], 0, first.prompt_length, -1);
    for (int32_t index : family) {
      const TrainSequence& sequence = sequences_[static_cast<size_t>(index)];
      const int64_t begin = Append(index, sequence.prompt_length, LastTarget(sequence), parent);
      placed_.push_back({index, {prompt_begin, begin, sequence.prompt_length}});
    }
  }

  int64_t Append(int32_t index, int64_t from, int64_t to, int64_t parent) {
    const TrainSequence& sequence = sequences_[static_cast<size_t>(index)];
    const auto begin = static_cast<int64_t>(batch_.tokens.size());
    if (from >= to) return begin;
    batch_.tokens.insert(batch_.tokens.end(), sequence.tokens.begin() + from, sequence.tokens.begin() + to);
    for (int64_t position = from; position < to; ++position) batch_.positions.push_back(position);
    batch_.segments.push_back({begin, begin + to - from, parent, index});
    return begin;
  }

  template <class Visit>
  void ForEachTarget(Visit visit) const {
    for (const auto& [index, placement] : placed_) {
      const TrainSequence& sequence = sequences_[static_cast<size_t>(index)];
      for (int64_t position = 1; position < sequence.length(); ++position) {
        if (sequence.loss_mask[static_cast<size_t>(position)])
          visit(index, sequence, position, placement.Row(position - 1));
      }
    }
  }

  void CollectRows() {
    row_index_.assign(batch_.tokens.size(), -1);
    std::vector<float> temperatures(batch_.tokens.size());
    ForEachTarget([&](int32_t, const TrainSequence& sequence, int64_t, int64_t row) {
      row_index_[static_cast<size_t>(row)] = 0;
      temperatures[static_cast<size_t>(row)] = sequence.temperature;
    });
    for (size_t row = 0; row < row_index_.size(); ++row) {
      if (row_index_[row] < 0) continue;
      row_index_[row] = static_cast<int32_t>(batch_.rows.size());
      batch_.rows.push_back(static_cast<int64_t>(row));
      batch_.temperatures.push_back(temperatures[row]);
    }
  }

  void CollectTargets() {
    ForEachTarget([&](int32_t index, const TrainSequence& sequence, int64_t position, int64_t row) {
      batch_.targets.push_back({row_index_[static_cast<size_t>(row)],
                                sequence.tokens[static_cast<size_t>(position)], index,
                                static_cast<int32_t>(position)});
    });
  }

  std::span<const TrainSequence> sequences_;
  MicroBatch batch_;
  std::vector<std::pair<int32_t, Placement>> placed_;
  std::vector<int32_t> row_index_;
};

Status CheckSpan(const Span& span, size_t number) {
  const size_t size = span.tokens.size();
  if (!span.logprobs.empty() && span.logprobs.size() != size) {
    return InvalidError("span ", number, " has ", size, " tokens but ", span.logprobs.size(), " log-probs");
  }
  if (!span.loss_mask.empty() && span.loss_mask.size() != size) {
    return InvalidError("span ", number, " has ", size, " tokens but a loss mask of ", span.loss_mask.size());
  }
  for (size_t i = 0; i < span.versions.size(); ++i) {
    const int32_t first = span.versions[i].first;
    const bool ordered = i == 0 ? first == 0 : first > span.versions[i - 1].first;
    if (!ordered || (size > 0 && first >= static_cast<int64_t>(size))) {
      return InvalidError("span ", number, ": version mark ", i, " starts at token ", first,
                          "; marks must start at 0 and ascend within the span's ", size, " tokens");
    }
  }
  return OkStatus();
}

// Behaviour log-probs are known when every counted token has one.
bool HasBehaviour(const Rollout& rollout) {
  for (const Span& span : rollout.spans) {
    if (span.origin == SpanOrigin::kSampled && !span.tokens.empty() && span.logprobs.empty()) return false;
  }
  return true;
}

std::vector<int64_t> OldestStates(const Rollout& rollout) {
  std::vector<int64_t> out;
  for (const Span& span : rollout.spans) {
    const size_t begin = out.size();
    out.resize(begin + span.tokens.size(), -1);
    for (const VersionMark& mark : span.versions) {
      std::fill(out.begin() + static_cast<std::ptrdiff_t>(begin) + mark.first, out.end(),
                mark.oldest_state.value);
    }
  }
  return out;
}

}  // namespace

int64_t TrainSequence::LossTokens() const {
  return std::accumulate(loss_mask.begin(), loss_mask.end(), int64_t{0});
}

StatusOr<TrainSequence> MakeTrainSequence(const Rollout& rollout, int64_t group, double advantage) {
  for (size_t i = 0; i < rollout.spans.size(); ++i) VOLERY_RETURN_IF_ERROR(CheckSpan(rollout.spans[i], i));
  TrainSequence out;
  out.group = group;
  out.prompt_length = rollout.PromptLength();
  out.tokens = rollout.Tokens();
  if (out.tokens.empty()) return InvalidError("a rollout without tokens");
  out.loss_mask = rollout.LossMask();
  for (uint8_t& counted : out.loss_mask) counted = counted != 0;
  if (out.loss_mask[0])
    return InvalidError(
        "the loss mask counts the first token, which nothing predicts; begin with a prompt span");
  if (HasBehaviour(rollout)) out.behaviour = rollout.Logprobs();
  out.versions = rollout.Versions();
  out.oldest_states = OldestStates(rollout);
  if (!(rollout.temperature >= 0) || !std::isfinite(rollout.temperature)) {
    return InvalidError("temperature ", rollout.temperature, "; it must be a number >= 0");
  }
  out.temperature = rollout.temperature == 0 ? 1 : rollout.temperature;
  out.advantage = advantage;
  return out;
}

StatusOr<std::vector<TrainSequence>> MakeTrainSequences(const TrainBatch& batch) {
  std::vector<TrainSequence> out;
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const Group& group = batch.groups[g];
    if (group.advantages.size() != group.rollouts.size()) {
      return InvalidError("step ", batch.step, ", group ", group.id.index(), ": ", group.rollouts.size(),
                          " rollouts but ", group.advantages.size(),
                          " advantages; call Trainer::Advantages first");
    }
    for (size_t i = 0; i < group.rollouts.size(); ++i) {
      auto sequence = MakeTrainSequence(group.rollouts[i], static_cast<int64_t>(g), group.advantages[i]);
      if (!sequence.ok()) {
        return Annotate(sequence.status(), "step ", batch.step, ", group ", group.id.index(), ", sample ",
                        group.rollouts[i].sample);
      }
      out.push_back(std::move(sequence).value());
    }
  }
  return out;
}

std::vector<MicroBatch> PackSequences(std::span<const TrainSequence> sequences,
                                      std::span<const int32_t> indices, const PackingOptions& options) {
  std::vector<MicroBatch> out;
  std::vector<Family> families;
  int64_t tokens = 0;
  auto flush = [&] {
    if (!families.empty()) out.push_back(MicroBatchBuilder(sequences).Build(families));
    families.clear();
    tokens = 0;
  };
  auto find_family = [&](const TrainSequence& sequence) -> Family* {
    if (!options.share_prompts) return nullptr;
    for (Family& family : families) {
      if (SamePrompt(sequences[static_cast<size_t>(family[0])], sequence)) return &family;
    }
    return nullptr;
  };
  for (int32_t index : indices) {
    const TrainSequence& sequence = sequences[static_cast<size_t>(index)];
    const int64_t needed = LastTarget(sequence);
    if (needed == 0) continue;
    // A loss inside the prompt could end before the prompt does; such sequences stand alone.
    const bool sharable = needed >= sequence.prompt_length;
    Family* family = sharable ? find_family(sequence) : nullptr;
    int64_t cost = family != nullptr ? needed - sequence.prompt_length : needed;
    if (tokens > 0 && tokens + cost > options.max_tokens) {
      flush();
      family = nullptr;
      cost = needed;
    }
    if (family != nullptr) {
      family->push_back(index);
    } else {
      families.push_back({index});
    }
    tokens += cost;
  }
  flush();
  return out;
}

std::vector<std::vector<int32_t>> ShareByTokens(std::span<const TrainSequence> sequences,
                                                std::span<const int32_t> indices, int ranks) {
  struct Unit {
    int64_t tokens = 0;
    std::vector<int32_t> members;
  };
  auto make_units = [&](bool whole_groups) {
    std::vector<Unit> units;
    for (int32_t index : indices) {
      const TrainSequence& sequence = sequences[static_cast<size_t>(index)];
      const bool joins = whole_groups && !units.empty() &&
                         sequences[static_cast<size_t>(units.back().members[0])].group == sequence.group;
      if (!joins) units.emplace_back();
      units.back().members.push_back(index);
      units.back().tokens += joins ? sequence.length() - sequence.prompt_length : sequence.length();
    }
    return units;
  };
  std::vector<Unit> units = make_units(true);
  if (static_cast<int64_t>(units.size()) < 2 * ranks) units = make_units(false);
  std::stable_sort(units.begin(), units.end(),
                   [](const Unit& a, const Unit& b) { return a.tokens > b.tokens; });
  std::vector<std::vector<int32_t>> shares(static_cast<size_t>(ranks));
  std::vector<int64_t> load(static_cast<size_t>(ranks), 0);
  for (const Unit& unit : units) {
    const auto rank = static_cast<size_t>(std::min_element(load.begin(), load.end()) - load.begin());
    load[rank] += unit.tokens;
    shares[rank].insert(shares[rank].end(), unit.members.begin(), unit.members.end());
  }
  for (auto& share : shares) std::sort(share.begin(), share.end());
  return shares;
}

std::vector<std::vector<int32_t>> SplitForOptimiserSteps(std::span<const TrainSequence> sequences,
                                                         int parts) {
  std::vector<size_t> starts;  // of groups
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (i == 0 || sequences[i].group != sequences[i - 1].group) starts.push_back(i);
  }
  if (starts.size() < static_cast<size_t>(parts)) {
    starts.resize(sequences.size());
    std::iota(starts.begin(), starts.end(), size_t{0});
  }
  const size_t units = starts.size();
  const size_t count = std::min(units, static_cast<size_t>(std::max(parts, 1)));
  starts.push_back(sequences.size());
  std::vector<std::vector<int32_t>> out(count);
  for (size_t part = 0; part < count; ++part) {
    const size_t begin = starts[part * units / count], end = starts[(part + 1) * units / count];
    for (size_t i = begin; i < end; ++i) out[part].push_back(static_cast<int32_t>(i));
  }
  return out;
}

}  // namespace volery::data
