// One reward that behaves as its option says; the source of several fixtures.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "volery/reward.h"

namespace {

class Behaviours : public volery::Reward {
 public:
  static constexpr char kDescription[] = "does what the completion says";
  static constexpr volery::Option kOptions[] = {
      {"greeting", volery::OptionType::kText, "hello", "reported when asked"},
      {"scale", volery::OptionType::kNumber, "1", "multiplies every score"},
      {"refuse", volery::OptionType::kBool, "false", "refuse to be made"},
      {"count", volery::OptionType::kInteger, "2", "a whole number"},
      {"read", volery::OptionType::kText, "", "read this file when made"},
      {"instead", volery::OptionType::kText, "", "do this, whatever the completion says"},
  };

  Behaviours(const volery::Options& options, volery::Host host)
      : greeting_(options.Text("greeting")), scale_(options.Number("scale")), instead_(options.Text("instead")), host_(host) {
    if (options.Flag("refuse")) throw std::invalid_argument("told to refuse");
    if (const std::string file(options.Text("read")); !file.empty()) std::ifstream(file).get();
  }

  double Score(const volery::Sample& s) const override {
    const std::string_view todo = instead_.empty() ? s.completion : std::string_view(instead_);
    if (todo == "throw") throw std::runtime_error("thrown on purpose");
    if (todo == "throw an int") throw 7;
    if (todo == "not applicable") throw volery::NotApplicable("not for me");
    if (todo == "nan") return std::strtod("nan", nullptr);
    if (todo == "abort") {
      signal(SIGABRT, SIG_DFL);
      abort();
    }
    if (todo == "exit") _exit(3);
    if (todo == "hang") {
      while (true) std::this_thread::sleep_for(std::chrono::seconds(1));
    }
    if (todo == "wait for cancel") {
      while (!s.Cancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      throw volery::Timeout("gave up when told");
    }
    if (todo == "greeting") return s.answer == greeting_;
    if (todo == "word") return host_.RandomWord(3, 5);
    if (todo == "print") return std::printf("a plugin prints this\n") > 0;
    return scale_ * Judge(s, todo);
  }

 private:
  double Judge(const volery::Sample& s, std::string_view todo) const {
    if (todo == "pid") return getpid();
    if (todo == "column") return std::strtod(std::string(s.Get("points").text).c_str(), nullptr);
    if (todo == "tokens") {
      double sum = 0;
      for (uint64_t i = 0; i < s.raw().span_count; ++i) {
        for (uint64_t k = 0; k < s.raw().spans[i]->token_count; ++k) sum += s.raw().spans[i]->tokens[k];
      }
      return sum;
    }
    s.Report("length", static_cast<double>(todo.size()));
    host_.Metric("seen", 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(todo.size() % 7));
    return std::strtod(std::string(todo).c_str(), nullptr);
  }

  std::string greeting_;
  double scale_;
  std::string instead_;
  volery::Host host_;
};

#ifdef FIXTURE_MAY_HANG
class Fixture : public Behaviours {
 public:
  static constexpr bool kMayHang = true;
  using Behaviours::Behaviours;
};
#endif

}  // namespace

#ifdef FIXTURE_MAY_HANG
VOLERY_REWARD_PLUGIN("fixture.may_hang/1", Fixture)
#else
VOLERY_REWARD_PLUGIN("fixture.behaviours/1", Behaviours)
#endif
