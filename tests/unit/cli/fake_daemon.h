// SPDX-License-Identifier: Apache-2.0
// A gRPC server that records what it is asked and gives scripted answers: any method, real wire.
// Answers are set before the calls that need them; gRPC's threads run the calls.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <queue>
#include <sstream>
#include <string>
#include <vector>

#include <google/protobuf/message.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/byte_buffer.h>

#include "cli/program.h"

namespace remora::cli {

class FakeDaemon : private grpc::CallbackGenericService {
  public:
    struct Answer {
        grpc::Status status;
        std::string bytes;
        /// In place of `bytes`, several answers one after the other, then the status, or no end.
        std::optional<std::vector<std::string>> events = std::nullopt;
        bool has_end = true;
    };
    /// Answers "/package.Service/Method", given the request's bytes.
    using Handler = std::function<Answer(const std::string& method, const std::string& request)>;

    FakeDaemon() {
        grpc::ServerBuilder builder;
        builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
        builder.RegisterCallbackGenericService(this);
        server_ = builder.BuildAndStart();
    }
    ~FakeDaemon() override { server_->Shutdown(std::chrono::system_clock::now()); }
    FakeDaemon(const FakeDaemon&) = delete;
    FakeDaemon& operator=(const FakeDaemon&) = delete;

    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

    /// The next answer of a method ("ListNvmePaths"). The last one set stays.
    void answer(const std::string& method, const google::protobuf::Message& message) {
        script_[method].push(Answer{grpc::Status::OK, message.SerializeAsString()});
    }
    void refuse(const std::string& method, grpc::StatusCode code, const std::string& sentence) {
        script_[method].push(Answer{grpc::Status(code, sentence), ""});
    }
    /// A stream of answers; it ends with `status`, or when the caller goes.
    template <typename Event>
    void stream(const std::string& method,
                const std::vector<Event>& events,
                std::optional<grpc::Status> status = std::nullopt) {
        Answer answer{status.value_or(grpc::Status::OK), "", std::vector<std::string>(),
                      status.has_value()};
        for (const Event& event : events) {
            answer.events->push_back(event.SerializeAsString());
        }
        script_[method].push(std::move(answer));
    }
    /// Answers what has no script. One call at a time.
    void handle(Handler handler) { handler_ = std::move(handler); }
    /// The method never answers.
    void hang(const std::string& method) { script_[method].push(std::nullopt); }

    /// Methods called so far, with their services.
    std::vector<std::string> methods() {
        const std::scoped_lock lock(mutex_);
        std::vector<std::string> all;
        all.reserve(asked_.size());
        for (const auto& [method, bytes] : asked_) {
            all.push_back(method);
        }
        return all;
    }
    /// The request of the call number `index`.
    template <typename Request>
    Request request(std::size_t index = 0) {
        const std::scoped_lock lock(mutex_);
        Request request;
        if (index >= asked_.size() || !request.ParseFromString(asked_[index].second)) {
            throw std::runtime_error("no such request was received");
        }
        return request;
    }

  private:
    /// One call: reads the request, writes the answer. Deletes itself.
    class Call : public grpc::ServerGenericBidiReactor {
      public:
        Call(FakeDaemon& daemon, std::string method) : daemon_(daemon), method_(std::move(method)) {
            StartRead(&request_);
        }
        void OnReadDone(bool ok) override {
            if (!ok) {
                return finish({grpc::StatusCode::INTERNAL, "no request"});
            }
            std::optional<Answer> answer = daemon_.next(method_, bytes_of(request_));
            if (!answer) {
                return;  // Until the caller gives up.
            }
            if (answer->events) {
                stream_ = std::move(*answer);
                return write_next();
            }
            if (!answer->status.ok()) {
                return finish(answer->status);
            }
            if (!finished_.exchange(true)) {
                const grpc::Slice slice(answer->bytes);
                reply_ = grpc::ByteBuffer(&slice, 1);
                StartWriteAndFinish(&reply_, grpc::WriteOptions(), grpc::Status::OK);
            }
        }
        void OnWriteDone(bool ok) override {
            if (ok) {
                write_next();
            }
        }
        void OnCancel() override { finish(grpc::Status::CANCELLED); }
        void OnDone() override { delete this; }

      private:
        void finish(const grpc::Status& status) {
            if (!finished_.exchange(true)) {
                Finish(status);
            }
        }
        void write_next() {
            if (written_ < stream_.events->size()) {
                const grpc::Slice slice((*stream_.events)[written_++]);
                reply_ = grpc::ByteBuffer(&slice, 1);
                StartWrite(&reply_);
            } else if (stream_.has_end) {
                finish(stream_.status);
            }
        }
        static std::string bytes_of(const grpc::ByteBuffer& buffer) {
            std::vector<grpc::Slice> slices;
            std::string bytes;
            if (buffer.Dump(&slices).ok()) {
                for (const grpc::Slice& slice : slices) {
                    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
                }
            }
            return bytes;
        }

        FakeDaemon& daemon_;
        std::string method_;
        grpc::ByteBuffer request_;
        grpc::ByteBuffer reply_;
        Answer stream_;
        std::size_t written_ = 0;
        std::atomic<bool> finished_{false};
    };

    grpc::ServerGenericBidiReactor* CreateReactor(
        grpc::GenericCallbackServerContext* context) override {
        return new Call(*this, context->method());
    }

    std::optional<Answer> next(const std::string& method, const std::string& request) {
        const std::scoped_lock lock(mutex_);
        asked_.emplace_back(method, request);
        const auto found = script_.find(method.substr(method.rfind('/') + 1));
        if (found == script_.end()) {
            return handler_ ? handler_(method, request) : Answer{grpc::Status::OK, ""};
        }
        auto& answers = found->second;
        std::optional<Answer> answer = answers.front();
        if (answers.size() > 1) {
            answers.pop();
        }
        return answer;
    }

    int port_ = 0;
    Handler handler_;
    std::mutex mutex_;
    std::map<std::string, std::queue<std::optional<Answer>>> script_;
    std::vector<std::pair<std::string, std::string>> asked_;
    std::unique_ptr<grpc::Server> server_;
};

/// What one command line printed and ended with.
struct Ran {
    int code = 0;
    std::string out;
    std::string err;
};

/// Runs `remora` in this process.
inline Ran run_line(std::vector<std::string> arguments) {
    std::ostringstream out;
    std::ostringstream err;
    const int code = run(arguments, out, err);
    return {code, out.str(), err.str()};
}

/// The same against the fake daemon.
inline Ran run_at(const FakeDaemon& daemon, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--server", daemon.address()});
    return run_line(std::move(arguments));
}

}  // namespace remora::cli
