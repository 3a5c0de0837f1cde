// SPDX-License-Identifier: Apache-2.0
// REST over real sockets against a real control plane over fakes: resources from creation to
// deletion, errors as clients see them, and clients that do not behave.
#include "rest/server.h"

#include <cerrno>
#include <chrono>
#include <httplib.h>
#include <latch>
#include <netinet/in.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rest/head.h"
#include "tests/unit/control/grpc_fixture.h"

namespace remora::test {

namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kJson = "application/json";

class RestTest : public GrpcTest {
  public:
    RestTest() {
        rest_ =
            std::move(*rest::Server::start("127.0.0.1:0", server().channel(), server().services()));
        port_ = std::stoi(rest_->address().substr(rest_->address().rfind(':') + 1));
        client_ = std::make_unique<httplib::Client>("127.0.0.1", port_);
        client_->set_keep_alive(true);
    }

    /// The answer's JSON; the status must be the one that is wanted.
    json get(const std::string& path, int status = 200) { return read(client_->Get(path), status); }
    json post(const std::string& path, const json& body, int status = 200) {
        return read(client_->Post(path, body.dump(), kJson), status);
    }
    json patch(const std::string& path, const json& body, int status = 200) {
        return read(client_->Patch(path, body.dump(), kJson), status);
    }
    json remove(const std::string& path, int status = 200) {
        return read(client_->Delete(path), status);
    }
    static json read(const httplib::Result& result, int status) {
        if (!result) {
            ADD_FAILURE() << httplib::to_string(result.error());
            return {};
        }
        EXPECT_EQ(result->status, status) << result->body;
        EXPECT_EQ(result->get_header_value("Content-Type"), kJson);
        return json::parse(result->body);
    }
    /// No call ends before the latch is counted down, which the reactor holds as well.
    std::shared_ptr<std::latch> block() {
        auto release = std::make_shared<std::latch>(1);
        control_reactor().post_function([release] { release->wait(); });
        return release;
    }
    json create_volume(const std::string& id) {
        return post("/v1/mallocVolumes?malloc_volume_id=" + id,
                    {{"blockSize", "512"}, {"blocksCount", 1024}});
    }

    std::unique_ptr<rest::Server> rest_;
    std::unique_ptr<httplib::Client> client_;
    int port_ = 0;
};

/// A client that sends what it likes.
class RawClient {
  public:
    explicit RawClient(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
        const timeval limit{20, 0};
        (void)setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        (void)setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        connected_ =
            ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
        EXPECT_TRUE(connected_);
    }
    RawClient(const RawClient&) = delete;
    RawClient& operator=(const RawClient&) = delete;
    ~RawClient() { (void)::close(socket_); }

    void send(const std::string& text) {
        std::size_t sent = 0;
        while (sent < text.size()) {
            const ssize_t wrote =
                ::send(socket_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
            if (wrote <= 0) {
                return;  // The server may have had enough.
            }
            sent += static_cast<std::size_t>(wrote);
        }
    }
    void end() { (void)::shutdown(socket_, SHUT_WR); }
    /// All that comes until the server closes; without having read all, if it `may_reset`.
    std::string receive_all(bool may_reset = false) {
        std::string all;
        char piece[4096];
        for (;;) {
            const ssize_t got = ::recv(socket_, piece, sizeof piece, 0);
            if (got <= 0) {
                EXPECT_TRUE(got == 0 || (may_reset && errno == ECONNRESET))
                    << "the server did not close the connection in an orderly way";
                return all;
            }
            all.append(piece, static_cast<std::size_t>(got));
        }
    }

  private:
    int socket_;
    bool connected_ = false;
};

TEST_F(RestTest, Volume_fromCreationToDeletion) {
    serve();
    const json made = create_volume("disk0");
    EXPECT_EQ(made.at("name"), "volumes/disk0");
    EXPECT_EQ(made.at("blockSize"), "512");
    EXPECT_EQ(made.at("blocksCount"), "1024");
    EXPECT_EQ(made.at("metadataSize"), "0");

    EXPECT_EQ(get("/v1/mallocVolumes/disk0"), made);
    // With the mask the body's other fields are no wishes, without it all that it has are.
    EXPECT_EQ(patch("/v1/mallocVolumes/disk0?updateMask=blocksCount",
                    {{"blocksCount", "2048"}, {"blockSize", 512}, {"uuid", uuid_of(3).text()}})
                  .at("blocksCount"),
              "2048");
    const json refused =
        patch("/v1/mallocVolumes/disk0", {{"blocksCount", "4096"}, {"blockSize", 4096}}, 400);
    EXPECT_EQ(refused.at("code"), 9);
    EXPECT_THAT(refused.at("message"), HasSubstr("block_size"));
    EXPECT_EQ(patch("/v1/mallocVolumes/disk0", {{"blocksCount", "4096"}, {"blockSize", 512}})
                  .at("blocksCount"),
              "4096");
    EXPECT_EQ(get("/v1/mallocVolumes/disk0").at("blocksCount"), "4096");

    EXPECT_EQ(remove("/v1/mallocVolumes/disk0"), json::object());
    EXPECT_EQ(remove("/v1/mallocVolumes/disk0", 404).at("code"), 5);
    EXPECT_EQ(remove("/v1/mallocVolumes/disk0?allow_missing=true"), json::object());
}

TEST_F(RestTest, List_pages_followTheirTokens) {
    serve();
    for (const char* id : {"disk1", "disk2", "disk3"}) {
        create_volume(id);
    }
    std::vector<std::string> names;
    std::string token;
    do {
        const json page = get("/v1/mallocVolumes?page_size=2&pageToken=" + token);
        for (const json& volume : page.at("mallocVolumes")) {
            names.push_back(volume.at("name"));
        }
        token = page.at("nextPageToken");
    } while (!token.empty() && names.size() < 10);
    EXPECT_EQ(names, (std::vector<std::string>{"volumes/disk1", "volumes/disk2", "volumes/disk3"}));
    EXPECT_EQ(get("/v1/mallocVolumes?page_size=-1", 400).at("code"), 3);
    EXPECT_EQ(get("/v1/mallocVolumes?page_token=none", 404).at("code"), 5);
    EXPECT_EQ(get("/v1/nullVolumes"),
              json({{"nullVolumes", json::array()}, {"nextPageToken", ""}}));
}

TEST_F(RestTest, Attach_oneCall_andNestedResources) {
    serve();
    const json disk =
        post("/v1/attachments", {{"discovery", {{"traddr", "10.0.0.1"}, {"trsvcid", "4420"}}},
                                 {"volumeUuid", uuid_of(1).text()},
                                 {"hostFunction", 5}});
    EXPECT_EQ(disk.at("name"), "attachments/5");
    EXPECT_EQ(disk.at("state"), "STATE_ATTACHED");
    EXPECT_EQ(get("/v1/attachments/5").at("volumeUuid"), uuid_of(1).text());
    EXPECT_EQ(post("/v1/attachments",
                   {{"discovery", {{"traddr", "10.0.0.1"}, {"trsvcid", "4420"}}},
                    {"volumeUuid", uuid_of(2).text()},
                    {"hostFunction", 5}},
                   409)
                  .at("code"),
              6);
    const std::string remote = disk.at("remoteController");
    const json paths = get("/v1/" + remote + "/nvmePaths");
    ASSERT_EQ(paths.at("nvmePaths").size(), 1U);
    EXPECT_EQ(get("/v1/" + paths["nvmePaths"][0].at("name").get<std::string>()).at("traddr"),
              "10.0.0.1");
    EXPECT_EQ(post("/v1/attachments:detach", {{"hostFunction", 5}}), json::object());
}

TEST_F(RestTest, Errors_haveStatusCodeAndASentence) {
    EXPECT_EQ(get("/v1/status", 503).at("code"), 14);  // It is not serving yet.
    serve();
    EXPECT_EQ(get("/v1/mallocVolumes/none", 404).at("code"), 5);
    EXPECT_THAT(get("/v2/nothing", 404).at("message"), HasSubstr("no such path"));
    EXPECT_EQ(get("/v1/volumes/%zz", 400).at("code"), 3);
    EXPECT_EQ(get("/v1/mallocVolumes?page_size=many", 400).at("message"),
              "query parameter page_size: an integer of 32 bits is wanted");
    EXPECT_EQ(post("/v1/mallocVolumes", {{"blockSize", "x"}}, 400).at("message"),
              "body.block_size: an integer of 64 bits is wanted");
    EXPECT_THAT(post("/v1/mallocVolumes", {{"blockSize", 512}}, 400).at("message"),
                HasSubstr("missing required field: malloc_volume.blocks_count"));
    EXPECT_EQ(read(client_->Post("/v1/mallocVolumes", "{\"a\":", kJson), 400).at("message"),
              "the body is no JSON: line 1, column 5");
    EXPECT_EQ(read(client_->Post("/v1/mallocVolumes", "{}", "text/xml"), 415).at("code"), 3);
    EXPECT_EQ(
        read(client_->Post("/v1/mallocVolumes", {{"Content-Encoding", "gzip"}}, "{}", kJson), 415)
            .at("code"),
        3);
    EXPECT_EQ(
        read(client_->Post("/v1/mallocVolumes", "--b", "multipart/form-data; boundary=b"), 415)
            .at("code"),
        3);

    const auto wrong = client_->Put("/v1/mallocVolumes", "{}", kJson);
    EXPECT_EQ(read(wrong, 405).at("code"), 12);
    EXPECT_EQ(wrong->get_header_value("Allow"), "GET, POST");
    EXPECT_EQ(read(client_->Options("/v1/mallocVolumes/x"), 405).at("code"), 12);

    EXPECT_EQ(read(client_->Get("/v1/status", httplib::Headers{{"Grpc-Timeout", "soon"}}), 400)
                  .at("code"),
              3);
    EXPECT_EQ(
        read(client_->Get("/v1/status", httplib::Headers{{"Origin", "http://elsewhere"}}), 403)
            .at("code"),
        7);
    EXPECT_TRUE(get("/v1/status").at("ready").get<bool>());
}

TEST_F(RestTest, Deadline_ofACallThatDoesNotEnd_is504) {
    serve();
    const auto release = block();
    const auto answer = client_->Get("/v1/status", httplib::Headers{{"Grpc-Timeout", "100m"}});
    release->count_down();
    EXPECT_EQ(read(answer, 504).at("code"), 4);
    EXPECT_TRUE(get("/v1/status").at("ready").get<bool>());
}

TEST_F(RestTest, Body_forms) {
    serve();
    // What `curl -d` says of its JSON, chunks, a body of the largest size, and HEAD.
    const std::string body = R"({"blockSize":512,"blocksCount":8})";
    read(client_->Post("/v1/mallocVolumes?malloc_volume_id=form", body,
                       "application/x-www-form-urlencoded"),
         200);
    RawClient chunked(port_);
    chunked.send(
        "POST /v1/mallocVolumes?mallocVolumeId=chunks HTTP/1.1\r\nHost: h\r\n"
        "Transfer-Encoding: chunked\r\n\r\n10\r\n" +
        body.substr(0, 16) + "\r\n" + "11\r\n" + body.substr(16) + "\r\n0\r\n\r\n");
    chunked.end();
    EXPECT_THAT(chunked.receive_all(), HasSubstr("\"volumes/chunks\""));

    std::string largest = body;
    largest.resize(rest::kLargestBody, ' ');
    read(client_->Post("/v1/mallocVolumes?malloc_volume_id=large", largest, kJson), 200);
    const auto too_large = client_->Post("/v1/mallocVolumes", largest + " ", kJson);
    EXPECT_EQ(read(too_large, 413).at("code"), 3);

    const auto head = client_->Head("/v1/mallocVolumes/form");
    ASSERT_TRUE(head);
    EXPECT_EQ(head->status, 200);
    EXPECT_EQ(head->body, "");
}

TEST_F(RestTest, OpenApi_isServedAtBothPaths) {
    const json document = get("/openapi.json");  // Also before anything is rebuilt.
    EXPECT_EQ(get("/v1/openapi.json"), document);
    EXPECT_TRUE(document.at("paths").contains("/v1/attachments:detach"));
    EXPECT_TRUE(document.at("paths").contains("/v1/nvmeRemoteControllers/{nvmeRemoteController}"));
    EXPECT_EQ(read(client_->Delete("/openapi.json"), 405).at("code"), 12);
}

TEST_F(RestTest, HostileBytes_areRefusedAndOthersServed) {
    serve();
    std::string fields;
    for (int i = 0; i < 2000; ++i) {
        fields += "x: 0123456789\r\n";
    }
    const std::pair<std::string, const char*> cases[] = {
        {"\r\n\r\n", "HTTP/1.1 400 "},
        {std::string(64, '\0') + "\r\n\r\n", "HTTP/1.1 400 "},
        {"\x16\x03\x01\x02\x01\x01\xfc\x03\x03\r\n\r\n", "HTTP/1.1 400 "},
        {"PRI * HTTP/2.0\r\n\r\n", "HTTP/1.1 505 "},
        {"GET /" + std::string(1'000'000, 'a'), "HTTP/1.1 431 "},
        {"GET /" + std::string(8000, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 414 "},
        {"GET / HTTP/1.1\r\n" + fields + "\r\n", "HTTP/1.1 431 "},
        {"POST /v1/attachments HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n",
         "HTTP/1.1 413 "},
        {"POST /v1/attachments HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
         "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "HTTP/1.1 400 "},
        {"POST /v1/attachments HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
         "HTTP/1.1 400 "},
        {"POST /v1/attachments HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{}",
         "HTTP/1.1 400 "},
    };
    for (const auto& [text, answer] : cases) {
        RawClient raw(port_);
        raw.send(text);
        raw.end();
        EXPECT_THAT(raw.receive_all(), StartsWith(answer)) << text.substr(0, 60);
    }
    // A chunked body without an end, larger than any may be.
    RawClient endless(port_);
    std::string chunk = "10000\r\n" + std::string(0x10000, ' ') + "\r\n";
    endless.send("POST /v1/attachments HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 20; ++i) {
        endless.send(chunk);
    }
    endless.end();
    EXPECT_THAT(endless.receive_all(), StartsWith("HTTP/1.1 413 "));

    EXPECT_TRUE(get("/v1/status").at("ready").get<bool>());
}

TEST_F(RestTest, Body_ofAGet_isNoSecondRequest) {
    serve();
    RawClient raw(port_);
    const std::string hidden = "DELETE /v1/mallocVolumes/x HTTP/1.1\r\nHost: h\r\n\r\n";
    raw.send("GET /v1/status HTTP/1.1\r\nHost: h\r\nContent-Length: " +
             std::to_string(hidden.size()) + "\r\n\r\n" + hidden);
    raw.end();
    const std::string all = raw.receive_all();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 200 "));
    EXPECT_EQ(all.find("HTTP/1.1", 8), std::string::npos) << all;
}

TEST_F(RestTest, Pipelined_requests_areAnsweredInOrder) {
    serve();
    RawClient raw(port_);
    raw.send(
        "GET /v1/status HTTP/1.1\r\nHost: h\r\n\r\nGET /nothing HTTP/1.1\r\nHost: h\r\n"
        "Connection: close\r\n\r\n");
    const std::string all = raw.receive_all();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 200 "));
    EXPECT_NE(all.find("HTTP/1.1 404 "), std::string::npos);
}

TEST_F(RestTest, ManyClients_atOnce_areAllServed) {
    serve();
    create_volume("disk0");
    std::atomic<int> served{0};
    {
        std::vector<std::jthread> clients;
        for (int i = 0; i < 24; ++i) {
            clients.emplace_back([&] {
                httplib::Client client("127.0.0.1", port_);
                client.set_read_timeout(30);
                for (int k = 0; k < 4; ++k) {
                    const auto answer = client.Get("/v1/mallocVolumes/disk0");
                    served += answer && answer->status == 200 ? 1 : 0;
                }
            });
        }
    }
    EXPECT_EQ(served, 24 * 4);
}

TEST_F(RestTest, Stop_withRequestsUnderWay_endsInTime) {
    serve();
    RawClient idle(port_);
    RawClient half(port_);
    half.send("POST /v1/attachments HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{");
    RawClient slow(port_);
    slow.send("GET /v1/sta");
    EXPECT_TRUE(get("/v1/status").at("ready").get<bool>());

    const auto release = block();
    RawClient waiting(port_);
    waiting.send("GET /v1/status HTTP/1.1\r\nHost: h\r\n\r\n");

    const auto start = std::chrono::steady_clock::now();
    rest_->stop();
    const auto took = std::chrono::steady_clock::now() - start;

    release->count_down();
    EXPECT_LT(took, std::chrono::seconds(10));
    // Cancelled, or not taken any more when it came too late.
    EXPECT_THAT(waiting.receive_all(true), testing::AnyOf(StartsWith("HTTP/1.1 499 "), ""));
    EXPECT_EQ(idle.receive_all(), "");
    EXPECT_THAT(half.receive_all(), StartsWith("HTTP/1.1 400 "));
    EXPECT_THAT(slow.receive_all(), StartsWith("HTTP/1.1 408 "));
    EXPECT_FALSE(httplib::Client("127.0.0.1", port_).Get("/v1/status"));
}

TEST_F(RestTest, Start_badAddresses_areRefused) {
    for (const std::string& address :
         {std::string("nowhere"), std::string(""), std::string(":"), std::string(":80"),
          std::string("127.0.0.1:"), std::string("127.0.0.1:x"), std::string("127.0.0.1:65536"),
          std::string("127.0.0.1:-1"), std::string("::1:80")}) {
        EXPECT_KIND(rest::Server::start(address, server().channel(), server().services()),
                    InvalidArgument);
    }
    // Taken by the server of this test, and no address of this machine.
    EXPECT_KIND(rest::Server::start(rest_->address(), server().channel(), server().services()),
                FailedPrecondition);
    EXPECT_KIND(rest::Server::start("192.0.2.1:0", server().channel(), server().services()),
                FailedPrecondition);
}

}  // namespace

}  // namespace remora::test
