// SPDX-License-Identifier: Apache-2.0
#include "core/intrusive_list.h"

#include <memory>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace remora::core {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Other {};

struct Item : ListHook<>, ListHook<Other> {
    explicit Item(int number) : value(number) {}
    using Main = ListHook<>;
    int value;
};

std::vector<int> values(List<Item>& list) {
    std::vector<int> out;
    list.for_each([&out](const Item& item) { out.push_back(item.value); });
    return out;
}

void clear(List<Item>& list) {
    while (list.pop_front() != nullptr) {
    }
}

class ListTest : public testing::Test {
  public:
    ~ListTest() override { clear(list); }
    Item one{1};
    Item two{2};
    Item three{3};
    List<Item> list;
};

TEST_F(ListTest, PushBack_keepsOrder) {
    list.push_back(one);
    list.push_back(two);
    list.push_back(three);
    EXPECT_THAT(values(list), ElementsAre(1, 2, 3));
    EXPECT_EQ(list.front().value, 1);
}

TEST_F(ListTest, PopFront_emptyList_givesNull) {
    EXPECT_TRUE(list.empty());
    EXPECT_EQ(list.pop_front(), nullptr);
}

TEST_F(ListTest, Unlink_inTheMiddle_leavesTheOthers) {
    list.push_back(one);
    list.push_back(two);
    list.push_back(three);

    two.Main::unlink();

    EXPECT_FALSE(two.Main::linked());
    EXPECT_THAT(values(list), ElementsAre(1, 3));
}

TEST_F(ListTest, Unlink_onNoList_doesNothing) {
    one.Main::unlink();
    EXPECT_FALSE(one.Main::linked());
}

TEST_F(ListTest, Tags_oneElementOnTwoLists_areIndependent) {
    List<Item, Other> others;
    list.push_back(one);
    others.push_back(one);

    EXPECT_EQ(list.pop_front(), &one);

    EXPECT_FALSE(others.empty());
    EXPECT_EQ(others.pop_front(), &one);
}

TEST_F(ListTest, ForEach_visitedUnlinksItself_visitsTheRest) {
    list.push_back(one);
    list.push_back(two);
    list.push_back(three);
    std::vector<int> seen;

    list.for_each([&seen](Item& item) {
        seen.push_back(item.value);
        if (item.value != 2) {
            item.Main::unlink();
        }
    });

    EXPECT_THAT(seen, ElementsAre(1, 2, 3));
    EXPECT_THAT(values(list), ElementsAre(2));
}

// A poller that ends a session takes the session's other queues off the list it is walked on.
TEST_F(ListTest, ForEach_visitedUnlinksAllOthers_visitsNoneOfThem) {
    list.push_back(one);
    list.push_back(two);
    list.push_back(three);
    std::vector<int> seen;

    list.for_each([&](const Item& item) {
        seen.push_back(item.value);
        two.Main::unlink();
        three.Main::unlink();
    });

    EXPECT_THAT(seen, ElementsAre(1));
    EXPECT_THAT(values(list), ElementsAre(1));
}

TEST_F(ListTest, ForEach_visitedDestroysTheNext_goesOnBehindIt) {
    auto doomed = std::make_unique<Item>(9);
    list.push_back(one);
    list.push_back(*doomed);
    list.push_back(three);
    std::vector<int> seen;

    list.for_each([&](const Item& item) {
        seen.push_back(item.value);
        if (doomed != nullptr) {
            doomed->Main::unlink();
            doomed.reset();
        }
    });

    EXPECT_THAT(seen, ElementsAre(1, 3));
}

TEST_F(ListTest, ForEach_visitedAddsOne_visitsItNextTime) {
    list.push_back(one);
    std::vector<int> seen;

    list.for_each([&](const Item& item) {
        seen.push_back(item.value);
        list.push_back(two);
    });

    EXPECT_THAT(seen, ElementsAre(1));
    EXPECT_THAT(values(list), ElementsAre(1, 2));
}

TEST_F(ListTest, SpliceBack_movesAllBehind) {
    List<Item> more;
    list.push_back(one);
    more.push_back(two);
    more.push_back(three);

    list.splice_back(more);

    EXPECT_TRUE(more.empty());
    EXPECT_THAT(values(list), ElementsAre(1, 2, 3));
    list.splice_back(more);
    EXPECT_THAT(values(list), ElementsAre(1, 2, 3));
}

TEST_F(ListTest, SpliceBack_intoEmpty_keepsBothUsable) {
    List<Item> more;
    more.push_back(one);

    list.splice_back(more);
    more.push_back(two);

    EXPECT_THAT(values(list), ElementsAre(1));
    EXPECT_THAT(values(more), ElementsAre(2));
    clear(more);
}

using ListDeathTest = ListTest;

TEST_F(ListDeathTest, PushBack_twice_dies) {
    list.push_back(one);
    EXPECT_DEATH(list.push_back(one), "CHECK failed");
}

TEST_F(ListDeathTest, Hook_destroyedOnAList_dies) {
    EXPECT_DEATH(
        {
            Item item(4);
            list.push_back(item);
        },
        "CHECK failed");
}

struct Node : QueueHook<Node> {
    explicit Node(int number) : value(number) {}
    int value;
};

std::vector<int> values(const Queue<Node>& queue) {
    std::vector<int> out;
    queue.for_each([&out](const Node& node) { out.push_back(node.value); });
    return out;
}

class QueueTest : public testing::Test {
  public:
    ~QueueTest() override {
        while (queue.pop_front() != nullptr) {
        }
    }
    Node one{1};
    Node two{2};
    Node three{3};
    Queue<Node> queue;
};

TEST_F(QueueTest, PushAndPop_isFirstInFirstOut) {
    queue.push_back(one);
    queue.push_back(two);
    queue.push_front(three);

    EXPECT_EQ(queue.size(), 3U);
    EXPECT_THAT(values(queue), ElementsAre(3, 1, 2));
    EXPECT_EQ(queue.pop_front(), &three);
    EXPECT_EQ(queue.pop_front(), &one);
    EXPECT_EQ(queue.pop_front(), &two);
    EXPECT_EQ(queue.pop_front(), nullptr);
    EXPECT_EQ(queue.size(), 0U);
}

TEST_F(QueueTest, PushFront_onEmpty_isAlsoTheTail) {
    queue.push_front(one);
    queue.push_back(two);
    EXPECT_THAT(values(queue), ElementsAre(1, 2));
}

TEST_F(QueueTest, PoppedEmpty_canBeFilledAgain) {
    queue.push_back(one);
    EXPECT_EQ(queue.pop_front(), &one);
    queue.push_back(two);
    EXPECT_THAT(values(queue), ElementsAre(2));
}

TEST_F(QueueTest, Append_movesTheWholeChain) {
    Queue<Node> more;
    queue.push_back(one);
    more.push_back(two);
    more.push_back(three);

    queue.append(more);

    EXPECT_THAT(values(queue), ElementsAre(1, 2, 3));
    EXPECT_EQ(queue.size(), 3U);
    EXPECT_THAT(values(more), IsEmpty());
    EXPECT_EQ(more.size(), 0U);
}

TEST_F(QueueTest, Append_emptyOrOntoEmpty_works) {
    Queue<Node> more;
    queue.append(more);
    EXPECT_TRUE(queue.empty());
    more.push_back(one);
    queue.append(more);
    queue.push_back(two);
    EXPECT_THAT(values(queue), ElementsAre(1, 2));
}

TEST_F(QueueTest, Move_takesEverything) {
    queue.push_back(one);
    queue.push_back(two);

    Queue<Node> moved = std::move(queue);
    EXPECT_THAT(values(moved), ElementsAre(1, 2));

    queue = std::move(moved);
    EXPECT_THAT(values(queue), ElementsAre(1, 2));
}

TEST_F(QueueTest, ForEach_visitPopsTheFront_goesOn) {
    queue.push_back(one);
    queue.push_back(two);
    int seen = 0;
    queue.for_each([&](const Node& node) {
        EXPECT_EQ(queue.pop_front(), &node);
        ++seen;
    });
    EXPECT_EQ(seen, 2);
    EXPECT_TRUE(queue.empty());
}

}  // namespace
}  // namespace remora::core
