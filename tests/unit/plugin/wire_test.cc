#include "core/plugin/wire.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/plugin/frames.h"

namespace volery::plugin {
namespace {

TEST(Wire, ACallComesBackAsItWas) {
  RewardSample sample;
  sample.group = GroupId::Make(3, 1, 2);
  sample.sample = 5;
  sample.task_index = -4;
  sample.task_id = "id";
  sample.completion = std::string("no UTF-8 \xff and zero \0 inside", 29);
  sample.stop = data::StopReason::kLength;
  sample.spans = {{data::SpanOrigin::kSampled, {1, -2}, {0.5f, -0.25f}, {}, {}}};
  sample.columns = std::make_shared<const nlohmann::json>(nlohmann::json{{"a", {1, "x", nullptr}}});
  const ChildCall call = DecodeCall(EncodeCall({true, 77, {sample, RewardSample()}})).value();
  EXPECT_TRUE(call.whole_group);
  EXPECT_EQ(call.limit_ms, 77);
  ASSERT_EQ(call.samples.size(), 2u);
  const RewardSample& back = call.samples[0];
  EXPECT_EQ(back.group, sample.group);
  EXPECT_EQ(back.sample, 5);
  EXPECT_EQ(back.task_index, -4);
  EXPECT_EQ(back.completion, sample.completion);
  EXPECT_EQ(back.stop, data::StopReason::kLength);
  ASSERT_EQ(back.spans.size(), 1u);
  EXPECT_EQ(back.spans[0].tokens, sample.spans[0].tokens);
  EXPECT_EQ(back.spans[0].logprobs, sample.spans[0].logprobs);
  EXPECT_EQ(*back.columns, *sample.columns);
  EXPECT_EQ(call.samples[1].columns, nullptr);
}

TEST(Wire, AReplyMustFitTheCall) {
  ChildReply reply;
  reply.results = {{data::RewardStatus::kOk, 1.5, {{"part", 2}}, "", 3}};
  reply.metrics["m"] = {4, 2};
  const std::string bytes = EncodeReply(reply);
  const ChildReply back = DecodeReply(bytes, 1).value();
  EXPECT_EQ(back.results[0].score, 1.5);
  EXPECT_EQ(back.results[0].components[0].name, "part");
  EXPECT_EQ(back.metrics.at("m").count, 2u);
  EXPECT_FALSE(DecodeReply(bytes, 2).ok());
  EXPECT_FALSE(DecodeReply(bytes + "x", 1).ok());
  for (size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_FALSE(DecodeReply(bytes.substr(0, cut), 1).ok()) << cut;
}

TEST(Frames, WaitEndsAtDeadlineCancelAndClose) {
  int sockets[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  EXPECT_EQ(ReceiveFrame(sockets[0], {20}).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(ReceiveFrame(sockets[0], {-1, [] { return true; }}).status().code(), StatusCode::kCancelled);
  EXPECT_EQ(SendFrame(sockets[0], std::string(8 << 20, 'x'), {50}).code(), StatusCode::kDeadlineExceeded)
      << "nobody reads";
  const uint32_t huge = 0xffffffff;
  ASSERT_EQ(write(sockets[1], &huge, sizeof(huge)), 4);
  EXPECT_EQ(ReceiveFrame(sockets[0], {1000}).status().code(), StatusCode::kDataLoss);
  close(sockets[1]);
  EXPECT_EQ(ReceiveFrame(sockets[0], {1000}).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(SendFrame(sockets[0], "x", {1000}).code(), StatusCode::kUnavailable);
  close(sockets[0]);
}

}  // namespace
}  // namespace volery::plugin
