#pragma once
// Metrics as TensorBoard event files in one folder. Every start of a run writes a new file
// (events.out.tfevents.000001,
// ...000002), because TensorBoard reads the files of a folder in the order of their names and never goes back
// in one.

#include <cstdint>
#include <memory>
#include <string>

#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "core/formats/event_file.h"

namespace volery::observe {

// Called by one thread at a time. Values are stored as float32; notes are left out.
class TensorBoardSink : public base::MetricSink {
 public:
  // Creates the folder and the next file. `clock` gives the wall time of each event and must outlive the
  // sink.
  static StatusOr<std::unique_ptr<TensorBoardSink>> Open(const std::string& folder, const base::Clock& clock);
  // For a resume: cuts every event file of the folder back to `last_step`; a missing folder is fine.
  static Status CutBack(const std::string& folder, StepId last_step);

  Status Write(StepId step, const base::MetricRow& row, const std::string& note) override;
  Status Flush() override;

 private:
  TensorBoardSink(std::unique_ptr<formats::EventFileWriter> writer, const base::Clock& clock)
      : writer_(std::move(writer)), clock_(clock) {}

  std::unique_ptr<formats::EventFileWriter> writer_;
  const base::Clock& clock_;
};

}  // namespace volery::observe
