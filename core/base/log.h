#pragma once
// Log lines for people, on standard error and in the run's log file. spdlog stays behind this header. Thread-safe.

#include <string>

#include "core/base/status.h"

namespace volery::base {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

void SetLogLevel(LogLevel level);             // of standard error; default kInfo
Status AddLogFile(const std::string& path);   // everything from kDebug on, appended and flushed line by line
void CloseLogFile();
void Log(LogLevel level, const std::string& message);

template <class... Args>
void LogDebug(const Args&... args) { Log(LogLevel::kDebug, Cat(args...)); }
template <class... Args>
void LogInfo(const Args&... args) { Log(LogLevel::kInfo, Cat(args...)); }
template <class... Args>
void LogWarning(const Args&... args) { Log(LogLevel::kWarning, Cat(args...)); }
template <class... Args>
void LogError(const Args&... args) { Log(LogLevel::kError, Cat(args...)); }

}  // namespace volery::base
