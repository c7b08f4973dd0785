#include "core/tensor/guard.h"

#include <c10/util/Exception.h>

#include <new>
#include <stdexcept>

namespace volery::tensor {
namespace {

bool IsAllocationFailure(const std::string& message) {
  return message.find("can't allocate memory") != std::string::npos ||
         message.find("out of memory") != std::string::npos;
}

}  // namespace

Status FromException(const std::string& what, std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    if (IsAllocationFailure(message)) return ResourceError(what, ": ", message);
    return InternalError(what, ": ", message);
  } catch (const std::invalid_argument& error) {
    return InvalidError(what, ": ", error.what());
  } catch (const std::bad_alloc&) {
    return ResourceError(what, ": out of memory");
  } catch (const std::exception& error) {
    return InternalError(what, ": ", error.what());
  } catch (...) {
    return InternalError(what, ": an exception that isn't a std::exception");
  }
}

}  // namespace volery::tensor
