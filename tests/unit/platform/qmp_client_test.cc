// SPDX-License-Identifier: Apache-2.0
// QmpClient against a scripted monitor that answers with values in each other.
#include "platform/qmp_client.h"

#include <gtest/gtest.h>

#include "tests/support/reactor_fixture.h"
#include "tests/unit/platform/fake_qmp.h"

namespace remora::test {

namespace {

using platform::QmpClient;
using reactor::Task;

class QmpClientTest : public ReactorFixture {
  public:
    /// The monitor's answer to a command is `deep` arrays in each other.
    core::Result<QmpClient::Json> ask(std::size_t deep) {
        core::Result<QmpClient::Json> answer;
        FakeQmp qemu;
        qemu.intercept = [&](const FakeQmp::Json& message) {
            if (message.at("execute") != "query-pci") {
                return false;
            }
            qemu.send_text("{\"return\": " + std::string(deep, '[') + std::string(deep, ']') +
                           ", \"id\": " + message.at("id").dump() + "}\n");
            return true;
        };
        run([&]() -> Task<> {
            const core::Nanos deadline = reactor().now() + std::chrono::seconds(5);
            qemu.listen(reactor());
            QmpClient client;
            const auto opened = co_await client.open(qemu.endpoint(), deadline);
            EXPECT_TRUE(opened.has_value());
            answer = co_await client.execute("query-pci", QmpClient::Json::object(), deadline);
            qemu.close();
        });
        return answer;
    }
};

TEST_F(QmpClientTest, Answer_nestedAsInAMachine_isTaken) {
    EXPECT_TRUE(ask(200).has_value());
}

TEST_F(QmpClientTest, Answer_nestedPastTheLimit_endsTheConnection) {
    // A copy of it would take more than the stack there is.
    const auto answer = ask(60'000);

    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().kind, core::ErrorKind::Unavailable);
}

}  // namespace

}  // namespace remora::test
