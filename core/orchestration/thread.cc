#include "core/orchestration/thread.h"

#include <new>

namespace volery::orchestration {

Status CatchAll(const std::string& where, const std::function<Status()>& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return ResourceError(where, ": out of memory");
  } catch (const std::exception& error) {
    return InternalError(where, ": ", error.what());
  } catch (...) {
    return InternalError(where, ": an exception of unknown type");
  }
}

RunThread::RunThread(std::string name, base::StopToken stop, std::function<Status()> body)
    : thread_(name, [name = std::move(name), stop = std::move(stop), body = std::move(body)] {
        const std::string where = Cat(name, " thread");
        const Status status = CatchAll(where, body);
        if (status.ok() || stop.stopped()) return;
        const bool named = Message(status).starts_with(where);
        stop.RequestStop(named ? status : Annotate(status, where));
      }) {}

}  // namespace volery::orchestration
