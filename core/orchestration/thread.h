#pragma once
// A named thread whose failure ends the run: a Status that isn't OK, or an exception, becomes the reason of
// the stop.

#include <functional>
#include <string>

#include "core/base/queue.h"
#include "core/base/status.h"
#include "core/base/threads.h"

namespace volery::orchestration {

// Joined at the end of its life, so whatever makes `body` return must have happened by then.
class RunThread {
 public:
  RunThread(std::string name, base::StopToken stop, std::function<Status()> body);
  void Join() { thread_.Join(); }

 private:
  base::NamedThread thread_;
};

// Runs `body` here; exceptions become an InternalError that names `where`.
Status CatchAll(const std::string& where, const std::function<Status()>& body);

}  // namespace volery::orchestration
