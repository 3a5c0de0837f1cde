// SPDX-License-Identifier: Apache-2.0
// Every call of every service with every bad request that follows from its good one
// (bad_input_cases.h): the answer is one of the codes of a client's mistake, never UNKNOWN or
// INTERNAL, and a short sentence that is fit to be printed; nothing has changed; and the good
// request is answered as ever afterwards.
#include <algorithm>
#include <set>

#include "tests/unit/control/bad_input_cases.h"
#include "tests/unit/control/grpc_fixture.h"

namespace remora::test {

namespace {

using google::protobuf::Message;
using google::protobuf::MethodDescriptor;

/// gRPC's own limit of all header fields together is 8 KiB.
constexpr std::size_t kLongestText = 2048;

const MethodDescriptor* find_method(const std::string& name) {
    for (const MethodDescriptor* method : served_methods()) {
        if (method->name() == name) {
            return method;
        }
    }
    return nullptr;
}

std::string path_of(const MethodDescriptor& method) {
    return "/" + method.service()->full_name() + "/" + method.name();
}

/// Bytes that a terminal would act on, or that end a line.
bool is_fit_to_print(const std::string& text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0U;
        if (byte < ' ' || byte == 0x7f || (byte == 0xc2 && next >= 0x80 && next < 0xa0)) {
            return false;
        }
    }
    return true;
}

class BadInputTest : public GrpcTest, public testing::WithParamInterface<std::string> {
  public:
    BadInputTest() {
        serve();
        for (const auto& [name, text] : world_calls()) {
            const grpc::Status made = call(find_method(name)->full_name(), text, nullptr);
            if (!row(name).codes.contains(made.error_code())) {
                ADD_FAILURE() << name << ": " << made.error_message();
            }
        }
    }

    static const GoodRequest& row(const std::string& name) {
        static const std::map<std::string, GoodRequest> rows = good_requests();
        return rows.at(name);
    }
    std::unique_ptr<Message> good_request(const MethodDescriptor& method) {
        std::unique_ptr<Message> request(google::protobuf::MessageFactory::generated_factory()
                                             ->GetPrototype(method.input_type())
                                             ->New());
        EXPECT_TRUE(
            google::protobuf::TextFormat::ParseFromString(row(method.name()).text, request.get()));
        return request;
    }
    grpc::Status send(const MethodDescriptor& method, const std::string& bytes) {
        return raw_call(channel_, path_of(method), bytes).status;
    }
    /// A stream answers a good request until its client ends it.
    grpc::Status send_good(const MethodDescriptor& method) {
        const auto request = good_request(method);
        if (!method.server_streaming()) {
            return send(method, request->SerializeAsString());
        }
        grpc::ClientContext context;
        auto reader =
            stub_->WatchResources(&context, dynamic_cast<api::WatchResourcesRequest&>(*request));
        api::ResourceEvent event;
        const bool told = reader->Read(&event);
        context.TryCancel();
        const grpc::Status status = reader->Finish();
        return told && status.error_code() == grpc::CANCELLED ? grpc::Status::OK : status;
    }

    /// What all refusals have in common.
    void expect_refused(const grpc::Status& status,
                        const Codes& codes,
                        const std::string& text,
                        const std::string& what) {
        const std::string shown = what + ": " + std::to_string(status.error_code()) + " " +
                                  status.error_message().substr(0, 200);
        EXPECT_TRUE(codes.contains(status.error_code())) << shown;
        EXPECT_FALSE(status.error_message().empty()) << shown;
        EXPECT_NE(status.error_message().find(text), std::string::npos)
            << shown << "; wanted: " << text;
        EXPECT_LE(status.error_message().size(), kLongestText) << what;
        EXPECT_TRUE(is_fit_to_print(status.error_message())) << what;
    }
};

TEST_P(BadInputTest, Call_badRequest_isRefusedAndChangesNothing) {
    const MethodDescriptor& method = *find_method(GetParam());
    const auto good = good_request(method);
    const std::string before = everything();
    int count = 0;
    derive_bad_requests(method, *good, row(method.name()), [&](const BadRequest& bad) {
        ++count;
        const grpc::Status status = send(method, bad.request.SerializeAsString());
        expect_refused(status, bad.codes, bad.text, bad.what);
        EXPECT_EQ(everything(), before) << bad.what;
    });
    RecordProperty("requests", count);
    // A prefix of names may be any text.
    const bool takes_anything =
        method.input_type()->field_count() == 0 || method.name() == "ListConditions";
    EXPECT_EQ(count == 0, takes_anything);

    const grpc::Status status = send_good(method);
    EXPECT_TRUE(row(method.name()).codes.contains(status.error_code()))
        << status.error_code() << " " << status.error_message();
}

TEST_P(BadInputTest, Call_bytesThatAreNoMessage_areRefusedAsTheClientsMistake) {
    const MethodDescriptor& method = *find_method(GetParam());
    const std::string before = everything();
    testing::internal::CaptureStderr();
    // A length without its bytes, a group that does not end, a field number of 0, and more levels
    // than protobuf reads.
    for (const std::string& bytes : {std::string("\x0a\x05x"), std::string("\x0b"),
                                     std::string("\x00\x00", 2), std::string(500, '\x0b')}) {
        expect_refused(send(method, bytes), {grpc::INVALID_ARGUMENT}, "not a", "bytes");
    }
    const auto* first = method.input_type()->FindFieldByNumber(1);
    if (first != nullptr && first->type() == google::protobuf::FieldDescriptor::TYPE_STRING) {
        expect_refused(send(method, "\x0a\x02\xff\xfe"), {grpc::INVALID_ARGUMENT}, "not a",
                       "text that is no UTF-8");
    }
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "clients do not write to it";
    EXPECT_EQ(everything(), before);
}

std::vector<std::string> method_names() {
    std::vector<std::string> names;
    for (const MethodDescriptor* method : served_methods()) {
        names.push_back(method->name());
    }
    return names;
}

INSTANTIATE_TEST_SUITE_P(Each,
                         BadInputTest,
                         testing::ValuesIn(method_names()),
                         [](const auto& parameter) { return parameter.param; });

TEST_F(GrpcTest, BadInput_everyServedMethod_hasAGoodRequest) {
    std::vector<std::string> served;
    for (const std::string& name : server().services()) {
        if (!name.starts_with("grpc.")) {
            served.push_back(name);
        }
    }
    std::ranges::sort(served);
    EXPECT_EQ(served, served_services());

    std::set<std::string> methods;
    for (const MethodDescriptor* method : served_methods()) {
        EXPECT_TRUE(methods.insert(method->name()).second) << method->name() << " is there twice";
    }
    std::set<std::string> rows;
    for (const auto& [name, row] : good_requests()) {
        rows.insert(name);
    }
    EXPECT_EQ(rows, methods);
}

}  // namespace

}  // namespace remora::test
