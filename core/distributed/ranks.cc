#include "core/distributed/ranks.h"

#include <charconv>
#include <cstdlib>
#include <optional>

namespace volery::distributed {
namespace {

StatusOr<int64_t> ReadNumber(const GetEnvironment& get, const char* name, int64_t low, int64_t high) {
  const char* text = get(name);
  if (text == nullptr || *text == 0) {
    return InvalidError("environment variable ", name,
                        " is missing; start every rank with torchrun or srun, or unset RANK and WORLD_SIZE");
  }
  int64_t value = 0;
  const char* end = text + std::string(text).size();
  const auto [rest, error] = std::from_chars(text, end, value);
  if (error != std::errc() || rest != end || value < low || value > high) {
    return InvalidError("environment variable ", name, "='", text, "'; expected a whole number from ", low,
                        " to ", high);
  }
  return value;
}

bool Has(const GetEnvironment& get, const char* name) {
  const char* text = get(name);
  return text != nullptr && *text != 0;
}

StatusOr<RankSettings> ReadRanks(const GetEnvironment& get, const char* rank_name, const char* world_name,
                                 const char* local_name) {
  RankSettings out;
  VOLERY_ASSIGN_OR_RETURN(const int64_t world, ReadNumber(get, world_name, 1, 1 << 20));
  VOLERY_ASSIGN_OR_RETURN(const int64_t rank, ReadNumber(get, rank_name, 0, world - 1));
  out.rank = static_cast<int>(rank);
  out.world = static_cast<int>(world);
  if (Has(get, local_name)) {
    VOLERY_ASSIGN_OR_RETURN(const int64_t local, ReadNumber(get, local_name, 0, world - 1));
    out.local_rank = static_cast<int>(local);
  }
  return out;
}

Status ReadMaster(const GetEnvironment& get, RankSettings& out) {
  if (!Has(get, "MASTER_ADDR")) {
    return InvalidError(
        "environment variable MASTER_ADDR is missing: the address of rank 0's machine; torchrun sets it");
  }
  out.master_address = get("MASTER_ADDR");
  VOLERY_ASSIGN_OR_RETURN(const int64_t port, ReadNumber(get, "MASTER_PORT", 1, 65535));
  out.master_port = static_cast<uint16_t>(port);
  return OkStatus();
}

Status ReadSlurmMaster(const GetEnvironment& get, RankSettings& out) {
  if (Has(get, "MASTER_ADDR")) return ReadMaster(get, out);
  if (!Has(get, "SLURM_JOB_NODELIST"))
    return InvalidError(
        "neither MASTER_ADDR nor SLURM_JOB_NODELIST says where rank 0 runs; set MASTER_ADDR and MASTER_PORT");
  VOLERY_ASSIGN_OR_RETURN(out.master_address, FirstSlurmHost(get("SLURM_JOB_NODELIST")));
  VOLERY_ASSIGN_OR_RETURN(const int64_t job, ReadNumber(get, "SLURM_JOB_ID", 0, int64_t{1} << 40));
  out.master_port = static_cast<uint16_t>(15000 + job % 30000);
  return OkStatus();
}

}  // namespace

StatusOr<std::string> FirstSlurmHost(const std::string& node_list) {
  const size_t end = node_list.find_first_of(",[");
  std::string host = node_list.substr(0, end);
  if (end != std::string::npos && node_list[end] == '[') {
    const size_t stop = node_list.find_first_of("-,]", end + 1);
    if (stop == std::string::npos || stop == end + 1)
      return InvalidError("SLURM_JOB_NODELIST '", node_list,
                          "' is not a host list; set MASTER_ADDR and MASTER_PORT");
    host += node_list.substr(end + 1, stop - end - 1);
    const size_t close = node_list.find(']', stop);
    if (close == std::string::npos)
      return InvalidError("SLURM_JOB_NODELIST '", node_list,
                          "' lacks a ']'; set MASTER_ADDR and MASTER_PORT");
    host += node_list.substr(close + 1, node_list.find_first_of(",[", close) - close - 1);
  }
  if (host.empty())
    return InvalidError("SLURM_JOB_NODELIST '", node_list,
                        "' names no host; set MASTER_ADDR and MASTER_PORT");
  return host;
}

StatusOr<RankSettings> RanksFromEnvironment(const GetEnvironment& get) {
  RankSettings out;
  if (Has(get, "RANK") || Has(get, "WORLD_SIZE")) {
    VOLERY_ASSIGN_OR_RETURN(out, ReadRanks(get, "RANK", "WORLD_SIZE", "LOCAL_RANK"));
    if (out.world > 1) VOLERY_RETURN_IF_ERROR(ReadMaster(get, out));
    const char* agent = get("TORCHELASTIC_USE_AGENT_STORE");
    out.store_is_running = agent != nullptr && std::string(agent) == "True";
    if (Has(get, "TORCHELASTIC_RESTART_COUNT")) out.prefix = get("TORCHELASTIC_RESTART_COUNT");
  } else if (Has(get, "SLURM_PROCID") && Has(get, "SLURM_NTASKS")) {
    VOLERY_ASSIGN_OR_RETURN(out, ReadRanks(get, "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"));
    if (out.world > 1) VOLERY_RETURN_IF_ERROR(ReadSlurmMaster(get, out));
  }
  return out;
}

StatusOr<RankSettings> RanksFromEnvironment() {
  return RanksFromEnvironment([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace volery::distributed
