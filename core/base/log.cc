#include "core/base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <mutex>

namespace volery::base {
namespace {

spdlog::level::level_enum Level(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarning: return spdlog::level::warn;
    case LogLevel::kError: break;
  }
  return spdlog::level::err;
}

struct Sinks {
  std::mutex mutex;
  spdlog::logger screen{"volery", std::make_shared<spdlog::sinks::stderr_color_sink_mt>()};
  std::shared_ptr<spdlog::logger> file;
  Sinks() { screen.set_pattern("%^[%H:%M:%S %l]%$ %v"); }
};

Sinks& AllSinks() {
  static Sinks* const sinks = new Sinks;  // lives to the end: other threads may log while statics are destroyed
  return *sinks;
}

}  // namespace

void SetLogLevel(LogLevel level) { AllSinks().screen.set_level(Level(level)); }

Status AddLogFile(const std::string& path) {
  try {
    auto logger = std::make_shared<spdlog::logger>("file", std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %l [%t] %v");
    logger->set_level(spdlog::level::debug);
    logger->flush_on(spdlog::level::debug);
    std::lock_guard lock(AllSinks().mutex);
    AllSinks().file = std::move(logger);
    return OkStatus();
  } catch (const std::exception& e) {
    return PreconditionError(path, ": can't write the log file: ", e.what());
  }
}

void CloseLogFile() {
  std::lock_guard lock(AllSinks().mutex);
  AllSinks().file.reset();
}

void Log(LogLevel level, const std::string& message) {
  Sinks& sinks = AllSinks();
  sinks.screen.log(Level(level), "{}", message);
  std::lock_guard lock(sinks.mutex);
  if (sinks.file) sinks.file->log(Level(level), "{}", message);
}

}  // namespace volery::base
