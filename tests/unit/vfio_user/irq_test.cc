// SPDX-License-Identifier: Apache-2.0
// INTx towards a client like QEMU: told once, and after an unmask only what is still so a moment
// later.
#include "vfio_user/irq.h"

#include <chrono>
#include <memory>
#include <unistd.h>

#include "reactor/call.h"
#include "tests/support/fd.h"
#include "tests/support/reactor_fixture.h"

namespace remora::test {
namespace {

using vfio_user::IrqTable;

class IntxTest : public ReactorFixture, public vfio_user::LevelSource {
  public:
    void SetUp() override {
        table = std::make_unique<IrqTable>(reactor().io(), vfio_user::IrqCounts{}, *this);
        vfio_user::IrqSet set;
        set.flags = vfio_user::kIrqDataEventfd | vfio_user::kIrqActionTrigger;
        set.count = 1;
        reactor::HandleBox box;
        box.handles[0] = dup(told.get());
        box.count = 1;
        on_reactor([&] { EXPECT_TRUE(table->set(set, {}, box)); });
    }
    void TearDown() override { table.reset(); }
    void refresh_level() override { table->set_intx_level(level); }

    template <typename F>
    void on_reactor(F body) {
        // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): run keeps it
        run([&body]() -> reactor::Task<> {
            body();
            co_return;
        });
    }
    void show(bool high) {
        level = high;
        on_reactor([this] { refresh_level(); });
    }
    /// `then` happens in the same turn.
    template <typename F>
    void unmask(F then) {
        on_reactor([&] {
            vfio_user::IrqSet set;
            set.flags = vfio_user::kIrqDataNone | vfio_user::kIrqActionUnmask;
            set.count = 1;
            reactor::HandleBox none;
            EXPECT_TRUE(table->set(set, {}, none));
            then();
        });
    }
    /// Lets the reactor turn well past the pause.
    bool is_told() {
        run([]() -> reactor::Task<> { co_await reactor::sleep_for(std::chrono::milliseconds(5)); });
        return wait_eventfd(told, 0);
    }

    Fd told = make_eventfd();
    std::unique_ptr<IrqTable> table;
    bool level = false;
};

TEST_F(IntxTest, Level_isToldOnce) {
    show(true);
    EXPECT_TRUE(is_told());
    show(true);
    EXPECT_FALSE(is_told());
}

TEST_F(IntxTest, Level_thatStays_isToldAgainAfterAnUnmask) {
    show(true);
    EXPECT_TRUE(is_told());
    unmask([] {});
    EXPECT_TRUE(is_told());
}

// The guest's other handler takes what kept the level high, right after the first one's access to a
// BAR has unmasked it: an interrupt now would find nothing, and never end.
TEST_F(IntxTest, Level_thatFallsRightAfterAnUnmask_isNotTold) {
    show(true);
    EXPECT_TRUE(is_told());
    unmask([this] { level = false; });
    EXPECT_FALSE(is_told());
    show(true);
    EXPECT_TRUE(is_told());
}

TEST_F(IntxTest, Frozen_tellsNothingMore) {
    show(true);
    EXPECT_TRUE(is_told());
    unmask([this] { (void)table->freeze(); });
    EXPECT_FALSE(is_told());
}

}  // namespace
}  // namespace remora::test
