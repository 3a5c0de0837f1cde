// SPDX-License-Identifier: Apache-2.0
// Target: sequences of calls to the whole control plane, over a data plane, a host and a store in
// memory, in the world that bad_input_rows.h makes.
//
//   input: whether the world is made first, then calls: which one, its request (RequestMaker)
//
// No answer is INTERNAL or DATA_LOSS, every refusal says why; a call that is refused, and one that
// only asks, changes nothing; a Create that is done answers the same the second time. In the end
// each listing is in order and has what Get gives, a plane that is started anew from the store
// lists the same, and everything can be deleted from the top down, with nothing left over.
#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/text_format.h>

#include "core/check.h"
#include "tests/fuzz/api/plane_world.h"
#include "tests/fuzz/api/request_maker.h"
#include "tests/fuzz/support/input.h"

namespace remora::fuzz {
namespace {

constexpr int kMostCalls = 24;

bool only_asks(const std::string& method) {
    return method.starts_with("Get") || method.starts_with("List") || method.starts_with("Stats");
}

/// A Create with an id of the client's answers the same again.
void check_again(PlaneWorld& world,
                 const PlaneCall& call,
                 const google::protobuf::Message& request,
                 const google::protobuf::Message& answer) {
    const auto* type = request.GetDescriptor();
    for (int i = 0; i < type->field_count(); ++i) {
        const auto& field = *type->field(i);
        const bool is_id = field.name().ends_with("_id") &&
                           field.cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_STRING;
        if (!is_id || request.GetReflection()->GetString(request, &field).empty()) {
            continue;
        }
        const auto again = world.call(call, request);
        CHECK(again.has_value());
        CHECK((*again)->SerializeAsString() == answer.SerializeAsString());
    }
}

void do_call(PlaneWorld& world, const RequestMaker& maker, Input& input) {
    const PlaneCall& call = plane_calls()[input.u8() % plane_calls().size()];
    const MessagePtr request = maker.make(call, input);
    const std::string before = world.everything();
    const auto answer = world.call(call, *request);
    if (!answer) {
        CHECK(!answer.error().message.empty());
        CHECK(answer.error().kind != core::ErrorKind::Internal);
        CHECK(answer.error().kind != core::ErrorKind::DataLoss);
    }
    if (!answer || only_asks(call.method)) {
        CHECK(world.everything() == before);
    } else if (call.method.starts_with("Create")) {
        check_again(world, call, *request, **answer);
    }
}

void run(Input input) {
    static const google::protobuf::LogSilencer quiet;
    static const RequestMaker maker;
    PlaneWorld world;
    if (input.flag()) {
        world.make_world();
    }
    for (int i = 0; i < kMostCalls && !input.empty(); ++i) {
        do_call(world, maker, input);
    }
    world.finish_work();  // else a rebuild ends with the restart, and the members are others
    const std::string listed = world.check_listings();
    world.restart();
    CHECK(world.check_listings() == listed);
    world.delete_everything();
    CHECK(world.check_listings().empty());
    world.check_nothing_left();
}

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    remora::fuzz::run(remora::fuzz::Input(data, size));
    return 0;
}
