#include "core/distributed/comm.h"

namespace volery::distributed {

StatusOr<std::vector<std::string>> Comm::AllGatherBytes(const std::string& bytes, const std::string& what) {
  std::vector<std::string> out;
  for (int root = 0; root < world(); ++root) {
    VOLERY_ASSIGN_OR_RETURN(std::string part, BroadcastBytes(bytes, root, what));
    out.push_back(std::move(part));
  }
  return out;
}

}  // namespace volery::distributed
