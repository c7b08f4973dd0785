#include "core/observe/tensorboard_sink.h"

#include <iomanip>
#include <sstream>
#include <vector>

#include "core/base/files.h"

namespace volery::observe {
namespace {

constexpr char kPrefix[] = "events.out.tfevents.";

std::string EventFileName(size_t number) {
  std::ostringstream name;
  name << kPrefix << std::setw(6) << std::setfill('0') << number;
  return name.str();
}

StatusOr<std::vector<std::string>> EventFiles(const std::string& folder) {
  VOLERY_ASSIGN_OR_RETURN(std::vector<std::string> names, base::ListFolder(folder));
  std::erase_if(names, [](const std::string& name) { return !name.starts_with(kPrefix); });
  return names;
}

}  // namespace

StatusOr<std::unique_ptr<TensorBoardSink>> TensorBoardSink::Open(const std::string& folder,
                                                                 const base::Clock& clock) {
  VOLERY_RETURN_IF_ERROR(base::MakeFolders(folder));
  VOLERY_ASSIGN_OR_RETURN(std::vector<std::string> files, EventFiles(folder));
  size_t number = files.size() + 1;
  while (base::Exists(folder + "/" + EventFileName(number))) ++number;
  VOLERY_ASSIGN_OR_RETURN(
      std::unique_ptr<formats::EventFileWriter> writer,
      formats::EventFileWriter::Create(folder + "/" + EventFileName(number), clock.UnixSeconds()));
  return std::unique_ptr<TensorBoardSink>(new TensorBoardSink(std::move(writer), clock));
}

Status TensorBoardSink::CutBack(const std::string& folder, StepId last_step) {
  if (!base::Exists(folder)) return OkStatus();
  VOLERY_ASSIGN_OR_RETURN(std::vector<std::string> files, EventFiles(folder));
  for (const std::string& name : files) {
    VOLERY_RETURN_IF_ERROR(formats::TruncateEvents(folder + "/" + name, last_step.value));
  }
  return OkStatus();
}

Status TensorBoardSink::Write(StepId step, const base::MetricRow& row, const std::string&) {
  std::vector<formats::EventScalar> scalars;
  for (const auto& [name, value] : row) scalars.emplace_back(name, static_cast<float>(value));
  VOLERY_RETURN_IF_ERROR(writer_->Add(step.value, clock_.UnixSeconds(), scalars));
  return Flush();
}

Status TensorBoardSink::Flush() {
  return writer_->Flush();
}

}  // namespace volery::observe
