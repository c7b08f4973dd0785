#include "core/inference/generate.h"

#include <map>
#include <utility>

namespace volery::inference {
namespace {

using data::FinishedSequence;
using data::SequenceId;

struct Place {
  size_t request = 0, sample = 0;
};
using Places = std::map<SequenceId, Place>;

void CancelAll(data::Engine& engine, const Places& places) {
  for (const auto& [id, place] : places) engine.Cancel(id);
}

// Cancelled sequences leave at the next step, before anything is computed.
Status Abandon(data::Engine& engine, const Places& places, Status reason) {
  CancelAll(engine, places);
  (void)engine.Step().status();
  return reason;
}

}  // namespace

StatusOr<std::vector<std::vector<data::Rollout>>> Generate(data::Engine& engine,
                                                           const std::vector<data::SampleRequest>& requests,
                                                           const GenerateOptions& options) {
  if (!engine.idle()) return PreconditionError("the engine is still at work on other requests");
  std::vector<std::vector<data::Rollout>> results(requests.size());
  Places places;
  for (size_t r = 0; r < requests.size(); ++r) {
    StatusOr<std::vector<SequenceId>> ids = engine.Submit(requests[r]);
    if (!ids.ok()) return Abandon(engine, places, Annotate(ids.status(), "request ", r));
    results[r].resize(ids->size());
    for (size_t k = 0; k < ids->size(); ++k) places[(*ids)[k]] = {r, k};
  }
  const int64_t total = static_cast<int64_t>(places.size());
  bool cancelled = false;
  while (!places.empty()) {
    StatusOr<std::vector<FinishedSequence>> finished = engine.Step();
    if (!finished.ok()) return Abandon(engine, places, finished.status());
    for (FinishedSequence& sequence : *finished) {
      const auto found = places.find(sequence.id);
      if (found == places.end()) continue;
      const Place place = found->second;
      places.erase(found);
      if (options.finished) {
        if (Status status = options.finished(sequence.rollout, place.request); !status.ok())
          return Abandon(engine, places, status);
      }
      results[place.request][place.sample] = std::move(sequence.rollout);
    }
    const GenerateProgress progress{total - static_cast<int64_t>(places.size()), total, engine.stats()};
    if (!cancelled && options.progress && !options.progress(progress)) {
      cancelled = true;
      CancelAll(engine, places);
    }
  }
  return results;
}

}  // namespace volery::inference
