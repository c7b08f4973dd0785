// Replays a fuzz entry without libFuzzer: every file of a corpus folder, then seeded mutations of each,
// always the same.
//
//   fuzz_replay_NAME CORPUS_FOLDER [MUTATIONS_A_FILE] [FILE#MUTATION]
//
// On a crash it names the input as FILE#MUTATION; passing that as the third argument runs only it (and with a
// fourth argument writes the input there). An input that takes more than five seconds counts as a failure.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

constexpr int kMutations = 3000;
constexpr unsigned kSecondsAnInput = 5;
char current_input[256] = "";

void Report(const char* what) {
  for (const char* part :
       {"\nfuzz replay: ", what, " on input ", static_cast<const char*>(current_input), "\n"}) {
    if (write(STDERR_FILENO, part, std::strlen(part)) < 0) return;
  }
}

void OnSignal(int number) {
  Report(number == SIGALRM ? "took too long" : "crashed");
  _exit(1);
}

// SplitMix64: small, seedable, the same everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Below(uint64_t bound) { return Next() % bound; }

 private:
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
  }
  uint64_t state_;
};

// Writes an integer that length fields dislike, of 1 to 8 bytes.
void PutExtreme(Bytes& input, Random& random) {
  constexpr uint64_t kValues[] = {0,
                                  1,
                                  0x7f,
                                  0x80,
                                  0xff,
                                  0x7fff,
                                  0xffff,
                                  0x7fffffff,
                                  0x80000000,
                                  0xffffffff,
                                  uint64_t{1} << 40,
                                  uint64_t{1} << 60,
                                  UINT64_MAX / 2,
                                  UINT64_MAX / 2 + 1,
                                  UINT64_MAX,
                                  UINT64_MAX - 7};
  const uint64_t value = kValues[random.Below(std::size(kValues))];
  const size_t width = size_t{1} << random.Below(4);
  if (input.size() >= width)
    std::memcpy(input.data() + random.Below(input.size() - width + 1), &value, width);
}

void MutateOnce(Bytes& input, Random& random) {
  // Headers are where lengths stand: half of the single-byte changes fall into the first 64 bytes.
  auto position = [&] {
    const size_t range = random.Below(2) == 0 ? std::min<size_t>(input.size(), 64) : input.size();
    return static_cast<ptrdiff_t>(random.Below(range));
  };
  if (input.empty()) {
    input.push_back(static_cast<uint8_t>(random.Below(256)));
    return;
  }
  switch (random.Below(7)) {
    case 0:
      input[static_cast<size_t>(position())] ^= static_cast<uint8_t>(1 << random.Below(8));
      break;
    case 1:
      input[static_cast<size_t>(position())] = static_cast<uint8_t>(random.Below(256));
      break;
    case 2:
      input.resize(random.Below(input.size() + 1));
      break;
    case 3:
      input.insert(input.begin() + position(), static_cast<uint8_t>(random.Below(256)));
      break;
    case 4:
      input.erase(input.begin() + position());
      break;
    case 5:
      PutExtreme(input, random);
      break;
    default: {  // a piece again, somewhere else
      const size_t from = random.Below(input.size());
      const Bytes piece(
          input.begin() + static_cast<ptrdiff_t>(from),
          input.begin() +
              static_cast<ptrdiff_t>(from + random.Below(std::min<size_t>(input.size() - from, 64)) + 1));
      input.insert(input.begin() + position(), piece.begin(), piece.end());
    }
  }
}

Bytes Mutate(const Bytes& original, const std::string& name, int number) {
  uint64_t seed = static_cast<uint64_t>(number);
  for (char c : name) seed = (seed ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
  Random random(seed);
  Bytes input = original;
  for (uint64_t i = 0, count = 1 + random.Below(4); i < count; ++i) MutateOnce(input, random);
  return input;
}

void RunOne(const Bytes& input, const std::string& label) {
  std::snprintf(current_input, sizeof current_input, "%s", label.c_str());
  alarm(kSecondsAnInput);
  const Bytes exact(input);  // no spare capacity behind it, so that a sanitizer sees reads past the end
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  alarm(0);
}

}  // namespace

#if defined(__SANITIZE_ADDRESS__)
extern "C" void __sanitizer_set_death_callback(void (*callback)());
#endif

int main(int argc, char** argv) {
  if (argc < 2)
    return std::fprintf(stderr, "usage: %s CORPUS_FOLDER [MUTATIONS] [FILE#MUTATION [WRITE_TO]]\n", argv[0]),
           2;
  const int mutations = argc > 2 ? std::atoi(argv[2]) : kMutations;
  const std::string only = argc > 3 ? argv[3] : "";
  for (int number : {SIGABRT, SIGALRM, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(number, OnSignal);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback([] { Report("sanitizer error"); });
#endif
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1], error)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  if (error || files.empty()) return std::fprintf(stderr, "no corpus files in %s\n", argv[1]), 2;

  int64_t runs = 0;
  for (const auto& path : files) {
    std::ifstream in(path, std::ios::binary);
    const Bytes original((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    const std::string name = path.filename().string();
    for (int number = -1; number < mutations; ++number) {
      const std::string label = number < 0 ? name : name + "#" + std::to_string(number);
      if (!only.empty() && label != only) continue;
      const Bytes input = number < 0 ? original : Mutate(original, name, number);
      if (argc > 4)
        std::ofstream(argv[4], std::ios::binary)
            .write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
      RunOne(input, label);
      ++runs;
    }
  }
  if (runs == 0) return std::fprintf(stderr, "no input named %s\n", only.c_str()), 2;
  std::printf("%lld inputs from %zu files: no crash\n", static_cast<long long>(runs), files.size());
  return 0;
}
